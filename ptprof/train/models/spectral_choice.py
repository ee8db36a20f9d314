"""Where real matrix products are cheaper than the fast Fourier transform, and where not.

Counted per value of a field, an FFT and its inverse take 2·2.5·log₂(X·Y) operations whatever the modes are;
the four transforms as products take 8·my and, on the small arrays between them, 24·mx·my/Y. An operation of
an FFT takes longer than one of a product, which runs at the speed of the machine's best-tuned code, and
around it neuraloperator shifts, fills and copies whole spectra. `ADVANTAGE` is how much longer: the median,
over grids, of where the measured times cross.
"""

from __future__ import annotations

import math
from typing import Literal

from ptprof.train.models.basis import Grid

ADVANTAGE = 7.0
"""An operation of neuraloperator's FFT in operations of a product, by ``benchmarks/crossover.py``:
TorchScript on one core, 8 channels, batch 1, grids from 64×128 (the times cross at 4) to 512×512 (at 12)."""


def operations(grid: Grid, out_grid: Grid, modes: Grid) -> tuple[float, float]:
    """Of the transforms for one channel, forth from ``grid`` and back to ``out_grid``: products', FFT's.

    ``modes`` are those kept, (mx, my), my of them along the real axis.
    """
    (X, Y), (Xo, Yo) = grid, out_grid
    mx, my = min(modes[0], X), min(modes[1], Y // 2 + 1)
    large = 4 * my * (X * Y + Xo * Yo)
    small = 8 * mx * my * X + 16 * mx * my * Xo
    fourier = sum(2.5 * x * y * math.log2(x * y) for x, y in (grid, out_grid))
    return large + small, fourier


def cheaper(grid: Grid, out_grid: Grid, modes: Grid) -> Literal["gemm", "fft"]:
    """What is expected to take less time for a layer from ``grid`` to ``out_grid`` that keeps ``modes``."""
    products, fourier = operations(grid, out_grid, modes)
    return "gemm" if products <= ADVANTAGE * fourier else "fft"
