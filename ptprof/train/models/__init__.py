"""The forecasters: the seven, flow matching, and those of plugins.

Each of the seven, and of the plugins', maps standardised windows (B, h·C, X, Y), channel = step·C + field
with the oldest step first, to the standardised next state (B, C, X, Y). Flow matching takes noise
(B, C, X, Y) too.
"""

from __future__ import annotations

from torch import nn

from ptprof.errors import unknown
from ptprof.records import PluginSource
from ptprof.train.models import own
from ptprof.train.models.convnext import ConvNextUNet
from ptprof.train.models.flow_matching import flow_matching
from ptprof.train.models.increment import Increment
from ptprof.train.models.neural_operators import SPECTRAL, fno, ufno
from ptprof.train.models.unet import UNet
from ptprof.train.recipe import DEPLOYABLE, FLOW_MATCHING, Recipe, load_recipe, own_models, unknown_model

__all__ = ["build", "check", "parameter_count", "source"]

FIELDS = 4
"""Tracer, pressure, and velocity along x and y."""


def build(
    name: str,
    recipe: str | Recipe = "paper",
    spectral: str = "gemm",
    grid: tuple[int, int] | None = None,
) -> nn.Module:
    """The forecaster ``name`` with the widths of ``recipe``, its weights newly initialised.

    Parameters
    ----------
    name : one of `ptprof.train.recipe.DEPLOYABLE`, or of the models of plugins
    recipe : a recipe or the name of one; where it predicts increments, the network is wrapped in an
        `Increment`, to be calibrated before it is trained
    spectral : ``"gemm"``, the spectral layers as real matrix products, or ``"fft"``, neuraloperator's
        own; the state dict has the same keys and shapes either way. The U-nets take no notice, nor do the
        models of plugins: `ptprof.export.lower` is for them.
    grid : that the models of plugins are made for, the recipe's unless given; the others are for any

    Raises
    ------
    UsageError : for a name, recipe or spectral implementation that is not known
    TrainingError : a plugin's code that fails, or makes something else than a module
    """
    if name not in DEPLOYABLE and name not in own_models():
        raise unknown_model(name, DEPLOYABLE)
    if spectral not in SPECTRAL:
        raise unknown("spectral implementation", spectral, SPECTRAL)
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    increment = recipe.predict == "increment"
    if name == FLOW_MATCHING:
        channels = recipe.history * FIELDS, FIELDS
        return flow_matching(*channels, increment=increment, **recipe.models[name].settings)
    if name in DEPLOYABLE:
        network = _network(name, recipe, spectral)
    else:
        network = own.build(own_models()[name], recipe.history * FIELDS, FIELDS, grid or recipe.grid)
    return Increment(network, FIELDS) if increment else network


def check(name: str, module: nn.Module, recipe: Recipe, grid: tuple[int, int]) -> None:
    """Try the ``module`` that `build` made, where it is a plugin's; TrainingError where it is of no use."""
    if name not in DEPLOYABLE:
        # What it is wrapped in would stretch a wrong shape to the right one.
        network = module.network if isinstance(module, Increment) else module
        own.check(own_models()[name], network, recipe.history * FIELDS, FIELDS, grid)


def source(name: str) -> PluginSource | None:
    """The code of the model ``name``; None of ptprof's own."""
    return None if name in DEPLOYABLE else own_models()[name].source


def parameter_count(module: nn.Module) -> int:
    """The number of real parameters: a complex one counts as two."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in module.parameters())


def _network(name: str, recipe: Recipe, spectral: str) -> nn.Module:
    settings = recipe.models[name].settings
    channels = recipe.history * FIELDS, FIELDS
    match name:
        case "unet" | "unet-cp":
            return UNet(*channels, padding="circular" if name.endswith("-cp") else "zeros", **settings)
        case "unet-cn" | "unet-cn-cp":
            return ConvNextUNet(
                *channels, padding="circular" if name.endswith("-cp") else "zeros", **settings
            )
        case "fno":
            return fno(*channels, spectral=spectral, **settings)
        case "tfno":
            return fno(*channels, spectral=spectral, factorization="Tucker", **settings)
        case _:
            return ufno(*channels, spectral=spectral, **settings)
