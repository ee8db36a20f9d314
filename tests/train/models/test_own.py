"""A plugin's model is looked over before anything is spent on it; what would not do is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ptprof import plugins
from ptprof.errors import PtprofError, TrainingError, UsageError
from ptprof.train import models
from ptprof.train.models.increment import Increment
from ptprof.train.recipe import DEPLOYABLE, in_order, load_recipe, own_models

Written = Callable[..., Path]

GRID = (48, 64)

BODY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.c = nn.Conv2d(i, o, 3, padding=1)
        self.calls = 0
    def forward(self, x):
        {forward}

@ptprof.model("mine", learning_rate=1e-3)
def mine(in_channels, out_channels, grid):
    {make}
"""


def plugin(written: Written, forward: str = "return self.c(x)", make: str = "") -> None:
    body = BODY.format(forward=forward, make=make or "return Net(in_channels, out_channels)")
    plugins.announce([str(written(body))])


def tried() -> nn.Module:
    recipe = load_recipe("quick")
    module = models.build("mine", recipe, grid=GRID)
    models.check("mine", module, recipe, GRID)
    return module


def test_a_model_gets_its_channels_and_its_grid_and_is_wrapped_as_the_recipe_says(written: Written) -> None:
    make = "net = Net(in_channels, out_channels); net.told = (in_channels, out_channels, grid); return net"
    plugin(written, make=make)
    module = tried()
    assert isinstance(module, Increment)
    assert module.network.told == (16, 4, GRID)
    assert module.training
    assert models.source("mine") == plugins.models()["mine"].source
    plain = models.build("mine", "paper")
    assert not isinstance(plain, Increment)
    assert plain.told == (16, 4, load_recipe("paper").grid)


def test_the_check_leaves_weights_and_statistics_as_they_were(written: Written) -> None:
    plugin(written, make="return nn.Sequential(nn.BatchNorm2d(16), Net(in_channels, out_channels))")
    module = models.build("mine", "quick", grid=GRID)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    models.check("mine", module, load_recipe("quick"), GRID)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("forward", "make", "says"),
    [
        ("", "raise ValueError('no such width')", "fails with ValueError: no such width"),
        ("", "return 3", "gives a int, not a torch.nn.Module"),
        ("", "return Net(in_channels, out_channels).to('meta')", "puts weights on meta"),
        ("", "return nn.Identity()", "has no weights that could be trained"),
        ("return self.c(x[:, :3])", "", "cannot take windows 2×16×48×64: RuntimeError"),
        ("return self.c(x)[:, :1]", "", "gives 2×1×48×64, not 2×4×48×64"),
        ("return (self.c(x),)", "", "gives a tuple, not a tensor"),
        ("return self.c(x).double()", "", "gives torch.float64, not float32"),
        ("return self.c(x) / 0", "", "not finite"),
        ("return self.c(x).detach()", "", "has no gradient"),
        ("self.calls += 1; return self.c(x) * self.calls", "", "when asked again"),
        ("return self.c(x) + torch.randn(())", "", "when asked again"),
        ("self.calls = 0.9 * self.calls + x.mean(); return self.c(x) + self.calls", "", "when asked again"),
        ("return self.c(x - x.mean(0))", "", "when others are in its batch"),
        ("return self.c(x.reshape(2, 16, 48, 64))", "", "cannot take windows"),
        ("y = self.c(x); return y.expand(2, -1, -1, -1)", "", "the size of a batch must be free"),
    ],
)  # fmt: skip
def test_what_would_not_do_is_refused_in_one_line(
    written: Written, forward: str, make: str, says: str
) -> None:
    plugin(written, forward or "return self.c(x)", make)
    with pytest.raises(TrainingError) as refused:
        tried()
    assert str(refused.value).startswith("mine of the plugin mine.py ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["fno", "flow-matching", "burgers-nn", "burgers-mine", "all", "solver"])
def test_ptprofs_names_are_refused(written: Written, name: str) -> None:
    plugins.announce([str(written(BODY.format(forward="pass", make="pass").replace('"mine"', repr(name))))])
    for ask in (own_models, lambda: load_recipe("quick").with_model("fno")):
        with pytest.raises(UsageError, match=rf"mine\.py registers .*{name}"):
            ask()


@pytest.mark.usefixtures("no_plugins")
def test_an_unknown_model_says_how_to_name_a_plugin() -> None:
    for ask in (lambda: models.build("vit"), lambda: load_recipe("quick").with_model("vit")):
        with pytest.raises(PtprofError, match=r"unknown model 'vit'.*`ptprof --plugin FILE …`"):
            ask()


def test_a_recipe_knows_a_plugins_model_and_its_own_stay_as_they_are(written: Written) -> None:
    plugin(written)
    recipe = load_recipe("quick")
    assert recipe.with_model("fno") is recipe
    own = recipe.with_model("mine")
    assert own.models["mine"].learning_rate == 1e-3
    assert {name: own.models[name] for name in recipe.models} == recipe.models


def test_models_stand_in_ptprofs_order_and_then_by_name() -> None:
    assert in_order(["vit", "tfno", "ape", "flow-matching", "unet"]) == [
        "unet", "tfno", "flow-matching", "ape", "vit",
    ]  # fmt: skip
    assert in_order(reversed(DEPLOYABLE)) == list(DEPLOYABLE)
