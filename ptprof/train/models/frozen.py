"""A spectral convolution for inference: constants between two fixed grids, as exports take it."""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor, nn

from ptprof.train.models.basis import Basis, Grid
from ptprof.train.models.spectral import SpectralConv, analyse, gather, mix, spectrum, unfold


class FrozenSpectralConv(nn.Module):
    """A `SpectralConv` for inference between two fixed grids: real, every tensor a buffer.

    Parameters
    ----------
    factorised : keep Tucker's factors where they are less than half of the dense weight: less to read, which
        is what mixing a few samples costs. ``weight`` is the last of them, and else dense
    """

    weight: Tensor
    bias: Tensor
    analysis_y: Tensor
    analysis_x: Tensor
    synthesis_x: Tensor
    synthesis_y: Tensor

    def __init__(self, layer: SpectralConv, grid: Grid, out_grid: Grid, *, factorised: bool = False) -> None:
        super().__init__()
        dtype, device = layer.bias.dtype, layer.bias.device
        with torch.no_grad():
            factors = layer.mixing(grid, dtype)
            dense = reduce(_dense, factors)
            if not factorised or 2 * sum(factor.numel() for factor in factors) > dense.numel():
                factors = [dense]
        self.register_buffer("weight", factors[-1].detach().clone())
        self.before = [f"factor_{index}" for index in range(len(factors) - 1)]
        for name, factor in zip(self.before, factors, strict=False):
            self.register_buffer(name, factor.detach().clone())
        self.in_channels = layer.in_channels
        self.register_buffer("bias", layer.bias.detach().clone())
        self.out_channels = layer.out_channels
        self.grids = grid, out_grid
        for name, matrix in layer.basis(grid, out_grid, dtype, device)._asdict().items():
            self.register_buffer(name, matrix.clone())
        self.analysis_y *= _scale(layer.norm, grid, out_grid)

    def out_grid(self, grid: Grid) -> Grid:
        """The grid that this layer was frozen to give."""
        return self.grids[1]

    def basis(self, grid: Grid, out_grid: Grid, dtype: torch.dtype, device: torch.device) -> Basis:
        """The constant matrices, those it was frozen with."""
        return Basis(self.analysis_y, self.analysis_x, self.synthesis_x, self.synthesis_y)

    def filter(self, rows: Tensor, basis: Basis, grid: Grid) -> Tensor:
        """As `SpectralConv.filter`."""
        z = spectrum(rows, self.in_channels, basis)
        for name in self.before:
            z = gather(mix(z, self.get_buffer(name)))
        return unfold(mix(z, self.weight), self.bias.flatten(), basis)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, Ci, X, Y) to (B, Co, X', Y')."""
        grid, out_grid = self.grids
        rows = self.filter(analyse(x, self.analysis_y), self.basis(grid, out_grid, x.dtype, x.device), grid)
        return (rows.t() @ self.synthesis_y).view(x.shape[0], self.out_channels, *out_grid)


def _dense(first: Tensor, second: Tensor) -> Tensor:
    """The product of two factors as `mix` takes them, as one such factor."""
    a, b = (torch.view_as_complex(factor.view(*factor.shape[:-1], -1, 2)) for factor in (first, second))
    return torch.view_as_real(a @ b).flatten(-2)


def _scale(norm: str, grid: Grid, out_grid: Grid) -> float:
    """What torch's ``norm`` multiplies a transform forth and back by, beside the norm "forward"."""
    (X, Y), (Xo, Yo) = grid, out_grid
    ratio = X * Y / (Xo * Yo)
    return {"forward": 1.0, "backward": ratio, "ortho": math.sqrt(ratio)}[norm]
