"""Forecasting the change of the state instead of the state.

One step apart, two states of a flow hardly differ: a network that gives the state spends a short training
on learning to repeat its input. Here it gives the change, each field's in units of its own typical size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptprof.errors import DataError
from ptprof.records import Statistics


class Increment(nn.Module):
    """A network's output y read as a change: next state = newest state of the window + scale·y.

    The loss is the mean square of y's error, so that every field counts alike, however slowly it changes.

    Parameters
    ----------
    network : maps ``(B, h·C, X, Y)`` to ``(B, C, X, Y)``
    fields : C

    Attributes
    ----------
    scale : ``(C, 1, 1)``, the typical change of a field in one step, in units of the field's standard
        deviation; ones until `calibrate` sets it, and kept with the weights
    """

    scale: Tensor

    def __init__(self, network: nn.Module, fields: int) -> None:
        super().__init__()
        self.network = network
        self.fields = fields
        self.register_buffer("scale", torch.ones(fields, 1, 1))

    def forward(self, window: Tensor) -> Tensor:
        """Standardised ``(B, h·C, X, Y)`` to the standardised next state ``(B, C, X, Y)``."""
        following: Tensor = window[:, -self.fields :] + self.scale * self.network(window)
        return following

    def training_loss(self, window: Tensor, following: Tensor) -> Tensor:
        """The mean square error of the change, ``(B, h·C, X, Y)`` and ``(B, C, X, Y)`` to ``()``."""
        change = (following - window[:, -self.fields :]) / self.scale
        return functional.mse_loss(self.network(window), change)


def calibrate(module: nn.Module, statistics: Statistics) -> None:
    """Set the ``scale`` of a module that has one from the statistics of the training data.

    Raises
    ------
    DataError : a field that does not change, or of which that is not known
    """
    scale = getattr(module, "scale", None)
    if not isinstance(scale, Tensor):
        return
    if not statistics.change_std:
        raise DataError("the data's stats.yaml lacks std_delta, in units of which changes are forecast")
    if min(statistics.change_std) <= 0:
        still = statistics.fields[statistics.change_std.index(min(statistics.change_std))]
        raise DataError(f"the data's {still} does not change from step to step: there is nothing to forecast")
    ratios = zip(statistics.change_std, statistics.std, strict=True)
    scale.copy_(torch.tensor([change / std for change, std in ratios]).reshape(scale.shape))
