"""Narrow models, the same at float64 as at float32, and the peers they are compared with."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptprof.train.models import build
from ptprof.train.models.operators import fused
from ptprof.train.recipe import FORECASTERS, Recipe, load_recipe

NARROW = {
    "unet": {"init_features": 4},
    "unet-cn": {"init_features": 4, "blocks_per_stage": 1},
    "fno": {"hidden_channels": 6, "modes": 8},
    "tfno": {"hidden_channels": 6, "modes": 8},
    "ufno": {
        "hidden_channels": 6,
        "lifting_channels": 10,
        "projection_channels": 10,
        "layer_channels": [4, 4, 4, 6, 4, 4, 4],
        "modes": [8, 6, 5, 6, 4, 6, 8],
    },
}


@pytest.fixture(scope="session")
def narrow() -> Recipe:
    """The quick recipe's networks by themselves, with channels few enough for many small runs."""
    recipe = load_recipe("quick")
    models = {
        name: recipe.models[name].model_copy(update={"settings": NARROW[name.removesuffix("-cp")]})
        for name in FORECASTERS
    }
    return recipe.model_copy(update={"models": models, "predict": "state"})


@pytest.fixture
def pair(narrow: Recipe) -> Callable[[str], tuple[nn.Module, nn.Module]]:
    """Give a model with neuraloperator's spectral layers and ours, with the same weights."""

    def make(name: str) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        stock, ours = build(name, narrow, "fft"), build(name, narrow, "gemm")
        ours.load_state_dict(stock.state_dict())
        return stock, ours

    return make


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], nn.Module]:
    """Give a module with all parameters, complex ones too, in double precision.

    neuraloperator 2.0.0 holds the spectrum in ``torch.cfloat`` whatever the weights are, so that name
    stands for complex128 for as long as the test runs.
    """
    monkeypatch.setattr(torch, "cfloat", torch.complex128)

    def convert(module: nn.Module) -> nn.Module:
        for parameter in module.parameters():
            parameter.data = parameter.data.to(torch.complex128 if parameter.is_complex() else torch.float64)
        return module

    return convert


@pytest.fixture(params=["fused", "plain"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with the CPU's fused functions, then with the plain ones that graphs are recorded from."""
    way: str = request.param
    if way == "plain":
        monkeypatch.setattr(fused, "applies", lambda x: False)
    return way


def relative(value: Tensor, reference: Tensor) -> float:
    """The relative L2 distance of two tensors."""
    return float(torch.linalg.vector_norm(value - reference) / torch.linalg.vector_norm(reference))


def gradients(module: nn.Module, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Output, and the gradients of the mean squared error in the input and every parameter that has one."""
    x = x.clone().requires_grad_()
    module.zero_grad()
    y = module(x)
    nn.functional.mse_loss(y, target).backward()
    assert x.grad is not None
    found = {"output": y.detach(), "input": x.grad}
    return found | {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


@pytest.fixture
def compare() -> Callable[[nn.Module, nn.Module, Tensor, Tensor], dict[str, float]]:
    """Give the relative L2 distances of one module's output and gradients from another's."""

    def distances(module: nn.Module, reference: nn.Module, x: Tensor, target: Tensor) -> dict[str, float]:
        found, expected = gradients(module, x, target), gradients(reference, x, target)
        assert found.keys() == expected.keys()
        return {name: relative(found[name], expected[name]) for name in expected}

    return distances


@pytest.fixture
def the_well() -> Iterator[Callable[[str], types.ModuleType]]:
    """Give a model's module of The Well's benchmark by its folder.

    Its package imports every model, with requirements that collide with ours (an older neuraloperator,
    timm), so that the file is loaded by itself: for timm's DropPath, never used at its default rate of
    zero, stands an identity.
    """
    models = Path(importlib.util.find_spec("the_well").submodule_search_locations[0]) / "benchmark" / "models"
    common, layers = types.ModuleType("common"), types.ModuleType("layers")
    layers.DropPath = nn.Identity

    class BaseModel(nn.Module):
        def __init__(self, n_spatial_dims: int, spatial_resolution: tuple[int, ...]) -> None:
            super().__init__()
            self.n_spatial_dims = n_spatial_dims

    common.BaseModel = BaseModel
    stubs = {
        "timm": types.ModuleType("timm"),
        "timm.models": types.ModuleType("timm.models"),
        "timm.models.layers": layers,
        "the_well.benchmark": types.ModuleType("the_well.benchmark"),
        "the_well.benchmark.models": types.ModuleType("the_well.benchmark.models"),
        "the_well.benchmark.models.common": common,
    }

    def load(folder: str) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(f"peer_{folder}", models / folder / "__init__.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    with pytest.MonkeyPatch.context() as patch:
        for name, stub in stubs.items():
            patch.setitem(sys.modules, name, stub)
        yield load
