"""Fourier series on a doubly periodic rectangle, with products free of aliasing.

A real field on a grid of ``(X, Y)`` points is kept as its Fourier coefficients of wave numbers below
Nyquist, an array ``(..., X, Y / 2)``: along x those of ``0 … X/2 - 1``, a row of zeros in Nyquist's place,
and those of ``1 - X/2 … -1``; along y those of ``0 … Y/2 - 1`` (a real field's others are their conjugates).
Coefficients are amplitudes: the first is the field's mean. Products are formed on a grid of 3/2 as many
points each way, which makes the coefficients that are kept of a product of two fields exact (Orszag's 3/2
rule).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Basis:
    """Wave numbers of one grid and the transforms between coefficients and points.

    Parameters
    ----------
    grid : ``(X, Y)`` points, both even
    lengths : the periods along x and y
    device : torch's name of a device
    """

    def __init__(
        self, grid: tuple[int, int], lengths: tuple[float, float], device: str | torch.device = "cpu"
    ) -> None:
        nx, ny = grid
        self.grid = grid
        self.lengths = lengths
        self.product_grid = (3 * nx // 2, 3 * ny // 2)
        m = torch.arange(nx, dtype=torch.float64, device=device)
        n = torch.arange(ny // 2, dtype=torch.float64, device=device)
        m = torch.where(m < nx // 2, m, m - nx)
        self.below_nyquist = (m > -nx // 2)[:, None]
        self.kx = (2 * math.pi / lengths[0] * m)[:, None]
        self.ky = (2 * math.pi / lengths[1] * n)[None, :]
        self.k2 = self.kx**2 + self.ky**2
        self.inverse_k2 = torch.where(self.k2 > 0, 1 / self.k2, 0.0)
        self.outer = (m.abs()[:, None] > nx / 3) | (n[None, :] > ny / 3)
        self.multiplicity = torch.where(n > 0, 2.0, 1.0)[None, :].to(torch.float64)

    def to_points(self, coefficients: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """The fields ``(..., X', Y')`` of ``coefficients`` on ``grid``, the basis' own unless said."""
        nx, ny = grid or self.grid
        padded = coefficients.new_zeros(*coefficients.shape[:-2], nx, coefficients.shape[-1])
        for kept, wide in self._rows(nx):
            padded[..., wide, :] = coefficients[..., kept, :]
        columns = torch.fft.ifft(padded, dim=-2, norm="forward")
        points: Tensor = torch.fft.irfft(columns, n=ny, dim=-1, norm="forward")
        return points

    def to_coefficients(self, points: Tensor) -> Tensor:
        """The coefficients of fields ``(..., X', Y')`` given on the basis' grid or on a finer one."""
        columns = torch.fft.rfft(points, dim=-1, norm="forward")[..., : self.grid[1] // 2]
        full = torch.fft.fft(columns, dim=-2, norm="forward")
        coefficients: Tensor = full.new_zeros(*full.shape[:-2], *self.k2.shape)
        for kept, wide in self._rows(full.shape[-2]):
            coefficients[..., kept, :] = full[..., wide, :]
        return coefficients

    def sum_of_squares(self, coefficients: Tensor) -> Tensor:
        """What each coefficient, and its conjugate, adds to the mean square of its field."""
        return self.multiplicity * (coefficients.real**2 + coefficients.imag**2)

    def _rows(self, wide: int) -> tuple[tuple[slice, slice], ...]:
        """Which of the rows kept are which of ``wide`` rows: those of wave numbers ≥ 0, those below."""
        half = self.grid[0] // 2
        return (slice(0, half), slice(0, half)), (slice(half + 1, None), slice(wide - half + 1, None))

    def low(self, wide: Tensor) -> Tensor:
        """The rows and columns ``(..., 2, X / 2, Y / 2)`` kept, a view, of a transform on the product grid.

        Its rows are three blocks of X/2, of which the middle one is not kept.
        """
        nx, ny = self.grid
        return torch.unflatten(wide, -2, (3, nx // 2))[..., ::2, :, : ny // 2]
