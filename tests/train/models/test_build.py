"""What `build` gives: the published sizes, plain state dicts, and words for what it does not know."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from ptprof.errors import UsageError
from ptprof.train.models import build, parameter_count
from ptprof.train.recipe import FORECASTERS, Recipe, load_recipe

PUBLISHED = {
    "unet": 17_467_156,
    "unet-cp": 17_467_156,
    "unet-cn": 18_575_344,
    "unet-cn-cp": 18_575_344,
    "fno": 19_011_716,
    "tfno": 19_276_556,
    "ufno": 18_960_956,
}


@pytest.mark.parametrize("name", FORECASTERS)
def test_the_paper_recipe_has_the_published_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        assert parameter_count(build(name, "paper")) == PUBLISHED[name]


def test_a_complex_parameter_counts_as_two() -> None:
    module = nn.ParameterList(
        [nn.Parameter(torch.zeros(3, dtype=torch.cfloat)), nn.Parameter(torch.zeros(5))]
    )
    assert parameter_count(module) == 11


@pytest.mark.parametrize("name", FORECASTERS)
def test_the_quick_recipe_runs_on_its_grid_and_is_smaller(name: str) -> None:
    recipe = load_recipe("quick")
    model = build(name, recipe).eval()
    with torch.no_grad():
        y = model(torch.randn(2, 16, *recipe.grid))
    assert y.shape == (2, 4, *recipe.grid)
    assert torch.isfinite(y).all()
    assert y.std() > 0
    assert parameter_count(model) < PUBLISHED[name] / 3


def test_every_mode_of_the_quick_recipe_fits_its_level() -> None:
    recipe = load_recipe("quick")
    X, Y = recipe.grid
    for name in ("fno", "tfno"):
        assert recipe.models[name].settings["modes"] <= min(X, Y)
    model = build("ufno", recipe).network
    for (x, y), block in zip(model.grids(recipe.grid), model.blocks, strict=False):
        assert block.conv.modes[0] <= x
        assert block.conv.modes[1] <= y // 2 + 1


@pytest.mark.parametrize("name", ["fno", "tfno", "ufno"])
def test_both_spectral_implementations_start_from_the_same_weights(name: str, narrow: Recipe) -> None:
    states = []
    for spectral in ("gemm", "fft"):
        torch.manual_seed(7)
        states.append(build(name, narrow, spectral).state_dict())
    ours, stock = states
    assert ours.keys() == stock.keys()
    assert all(torch.equal(ours[key], stock[key]) for key in stock)


@pytest.mark.parametrize("name", ["fno", "tfno", "ufno"])
def test_a_state_dict_goes_there_and_back(
    name: str, pair: Callable[[str], tuple[nn.Module, nn.Module]], narrow: Recipe, tmp_path
) -> None:
    stock, ours = pair(name)
    torch.save(ours.state_dict(), tmp_path / "weights.pt")
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    again = build(name, narrow, "fft")
    again.load_state_dict(state)
    assert all(torch.equal(again.state_dict()[key], value) for key, value in stock.state_dict().items())


def test_loading_keeps_the_layout_that_the_mixing_reads_without_a_copy(
    pair: Callable[[str], tuple[nn.Module, nn.Module]],
) -> None:
    _, ours = pair("fno")
    weight = ours.fno_blocks.convs[0].weight.tensor
    assert weight.permute(2, 3, 0, 1).is_contiguous()
    ours(torch.randn(1, 16, 16, 16)).sum().backward()
    assert weight.grad.stride() == weight.stride()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fnoo", "quick"), r"unknown model 'fnoo' \(did you mean 'fno'\?\)"),
        (("fno", "quik"), r"unknown recipe 'quik' \(did you mean 'quick'\?\)"),
        (("unet", "quick", "ftt"), r"unknown spectral implementation 'ftt' \(did you mean 'fft'\?\)"),
    ],
)
def test_what_is_not_known_is_refused_in_words(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(*arguments)


def test_building_prints_nothing_and_leaves_wandb_and_the_warning_filters_alone() -> None:
    script = (
        "import sys, warnings\n"
        "from ptprof.train.models import build\n"
        "before = list(warnings.filters)\n"
        "for name in ('fno', 'tfno', 'ufno'): build(name, 'quick')\n"
        "assert 'wandb' not in sys.modules\n"
        "assert warnings.filters == before, warnings.filters\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
