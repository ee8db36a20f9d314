"""The forecasters: the seven, and flow matching.

Each of the seven maps standardised windows (B, h·C, X, Y), channel = step·C + field with the oldest
step first, to the standardised next state (B, C, X, Y). Flow matching takes noise (B, C, X, Y) too.
"""

from __future__ import annotations

from torch import nn

from ptprof.errors import unknown
from ptprof.train.models.convnext import ConvNextUNet
from ptprof.train.models.flow_matching import flow_matching
from ptprof.train.models.increment import Increment
from ptprof.train.models.neural_operators import SPECTRAL, fno, ufno
from ptprof.train.models.unet import UNet
from ptprof.train.recipe import DEPLOYABLE, FLOW_MATCHING, Recipe, load_recipe

__all__ = ["build", "parameter_count"]

FIELDS = 4
"""Tracer, pressure, and velocity along x and y."""


def build(name: str, recipe: str | Recipe = "paper", spectral: str = "gemm") -> nn.Module:
    """The forecaster ``name`` with the widths of ``recipe``, its weights newly initialised.

    Parameters
    ----------
    name : one of `ptprof.train.recipe.DEPLOYABLE`
    recipe : a recipe or the name of one; where it predicts increments, the network is wrapped in an
        `Increment`, to be calibrated before it is trained
    spectral : ``"gemm"``, the spectral layers as real matrix products, or ``"fft"``, neuraloperator's
        own; the state dict has the same keys and shapes either way. The U-nets take no notice.

    Raises
    ------
    UsageError : for a name, recipe or spectral implementation that is not known
    """
    if name not in DEPLOYABLE:
        raise unknown("model", name, DEPLOYABLE)
    if spectral not in SPECTRAL:
        raise unknown("spectral implementation", spectral, SPECTRAL)
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    increment = recipe.predict == "increment"
    if name == FLOW_MATCHING:
        channels = recipe.history * FIELDS, FIELDS
        return flow_matching(*channels, increment=increment, **recipe.models[name].settings)
    network = _network(name, recipe, spectral)
    return Increment(network, FIELDS) if increment else network


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
