"""The network that all three models share: u(x, t) by four hidden layers of width 50, tanh."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTH, HIDDEN = 50, 4


class Network(nn.Module):
    """Takes points (x, t) ``(N, 2)`` and gives u ``(N, 1)``; 7,851 parameters.

    Weights are drawn from Glorot's normal distribution by ``seed``, in float64 whatever the ``dtype``; biases
    are zero (X. Glorot and Y. Bengio, AISTATS 2010).
    """

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        sizes = [2, *[WIDTH] * HIDDEN, 1]
        self.layers = nn.ModuleList(
            nn.Linear(before, after, dtype=torch.float64) for before, after in pairwise(sizes)
        )
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.xavier_normal_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)
        self.to(dtype)

    def linears(self) -> list[nn.Linear]:
        """The layers, from the input on."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, points: Tensor) -> Tensor:
        *hidden, last = self.linears()
        for layer in hidden:
            points = torch.tanh(layer(points))
        u: Tensor = last(points)
        return u
