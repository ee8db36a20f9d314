"""What a training makes small, as a module, so that it is compiled and shared among processes as a whole."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional


class Objective(nn.Module):
    """The mean loss of ``module`` over a batch of windows.

    It is the module's own ``training_loss(inputs, targets)`` where it has one, and otherwise the mean square
    error of one step over fields and space.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """``inputs`` ``(B, h·C, X, Y)`` and ``targets`` ``(B, C, X, Y)``, standardised, to ``()``."""
        own = getattr(self.module, "training_loss", None)
        if own is not None:
            return cast(Tensor, own(inputs, targets))
        return functional.mse_loss(self.module(inputs).float(), targets)
