"""Bicubic resampling as products with constant matrices."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import interpolate

from ptprof.train.models import fused
from ptprof.train.models.basis import Grid, constant
from ptprof.train.models.spectral import unrounded, widened

BLOCK = 32
"""Rows of a banded matrix that are multiplied at once."""


@lru_cache(maxsize=64)
def bicubic(size: int, out_size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix (``out_size``, ``size``) of bicubic interpolation with aligned corners.

    It is what torch's own makes of the unit vectors, so that both round the positions alike: in
    float32 a position rounded otherwise shifts the result by more than all later rounding.
    """
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(size, dtype=dtype)[None, None]
        matrix = interpolate(unit, size=(out_size, size), mode="bicubic", align_corners=True)
        return matrix[0, 0].to(device)


@constant
def both(grid: Grid, out_grid: Grid, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrices from ``grid`` to ``out_grid``: (X', X) for the left and (Y, Y') for the right."""
    along_x, along_y = (bicubic(*sizes, dtype, device) for sizes in zip(grid, out_grid, strict=True))
    return along_x, along_y.t()


class Band(NamedTuple):
    """``matrix`` is all that is not zero in the rows ``into`` of a banded matrix, its columns ``out_of``."""

    into: slice
    out_of: slice
    matrix: Tensor


@lru_cache(maxsize=64)
def bands(size: int, out_size: int, dtype: torch.dtype, transpose: bool) -> tuple[Band, ...]:
    """`bicubic`, or its transpose, in blocks of rows: each point depends on its neighbours alone."""
    with torch.inference_mode(False):
        matrix = bicubic(size, out_size, dtype, torch.device("cpu"))
        matrix = matrix.t() if transpose else matrix
        found = []
        for start in range(0, len(matrix), BLOCK):
            into = slice(start, min(start + BLOCK, len(matrix)))
            columns = matrix[into].any(0).nonzero().flatten()
            out_of = slice(int(columns[0]), int(columns[-1]) + 1) if len(columns) else slice(0, 1)
            found.append(Band(into, out_of, matrix[into, out_of].contiguous()))
        return tuple(found)


class Banded(torch.autograd.Function):
    """`Resample` by bands: a few per cent of the arithmetic of the full matrices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        ctx.grids = grid, out_grid
        return _resampled(x, grid, out_grid, transpose=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        grid, out_grid = ctx.grids
        return _resampled(grad, out_grid, grid, transpose=True), None, None


def _resampled(x: Tensor, grid: Grid, out_grid: Grid, *, transpose: bool) -> Tensor:
    """``x`` on ``grid`` to ``out_grid``; transposed, from the gradient there to the gradient here."""

    def along(size: int, out_size: int) -> tuple[Band, ...]:
        sizes = (out_size, size) if transpose else (size, out_size)
        return bands(*sizes, x.dtype, transpose)

    (X, Y), (Xo, Yo) = grid, out_grid
    lines = x.reshape(-1, X, Y)
    along_x = x.new_empty(len(lines), Xo, Y)
    for into, out_of, matrix in along(X, Xo):
        torch.bmm(matrix.expand(len(lines), -1, -1), lines[:, out_of], out=along_x[:, into])
    out = x.new_empty(*x.shape[:2], Xo * Yo)
    rows, out_rows = along_x.view(-1, Y), out.view(-1, Yo)
    for into, out_of, matrix in along(Y, Yo):
        torch.mm(rows[:, out_of], matrix.t(), out=out_rows[:, into])
    return out


class Resample(nn.Module):
    """Bicubic resampling with aligned corners, the matrices those of the grids asked for or fixed ones."""

    along_x: Tensor | None
    along_y: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("along_x", None, persistent=False)
        self.register_buffer("along_y", None, persistent=False)

    def fix(self, grid: Grid, out_grid: Grid, like: Tensor) -> None:
        """Hold the matrices from ``grid`` to ``out_grid`` as buffers, of the dtype and device of ``like``."""
        if grid != out_grid:
            along_x, along_y = both(grid, out_grid, like.dtype, like.device)
            self.along_x, self.along_y = along_x, along_y.contiguous()

    def forward(self, x: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        """``x`` (B, C, X·Y) on ``grid`` to (B, C, X'·Y') on ``out_grid``."""
        if grid == out_grid:
            return x
        if fused.applies(x):
            return Banded.apply(x, grid, out_grid)  # type: ignore[no-any-return, no-untyped-call]
        with unrounded(x.device):
            x = widened(x, torch.float32)
            along_x, along_y = self.along_x, self.along_y
            if along_x is None or along_y is None:
                along_x, along_y = both(grid, out_grid, x.dtype, x.device)
            return (along_x @ x.view(*x.shape[:2], *grid) @ along_y).flatten(2)
