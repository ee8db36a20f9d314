"""The cosines and sines of a truncated Fourier transform, as neuraloperator 2.0.0 indexes its modes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Grid = tuple[int, int]
Matrix = NDArray[np.float64]
P = ParamSpec("P")
T = TypeVar("T")


class Basis(NamedTuple):
    """The constant matrices of one spectral convolution from grid (X, Y) to (X', Y').

    ``analysis_y`` (2·my, Y) and ``synthesis_y`` (2·my, Y') go to and from the real and imaginary parts
    of the transform over y. ``analysis_x`` (2, X, 2·mx) takes each of these parts to both parts of the
    spectrum, ``synthesis_x`` (2, 4·mx, X') gives each of them from the four products of `mix`.
    """

    analysis_y: Tensor
    analysis_x: Tensor
    synthesis_x: Tensor
    synthesis_y: Tensor


def frequencies(size: int, kept: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Input frequency and output index of every kept mode along x, on ``size`` points.

    The modes are centred: −(kept // 2) up to kept // 2 − 1, one more where ``kept`` is odd.
    neuraloperator 2.0.0 undoes its fftshift by a second fftshift: that is the inverse for even sizes,
    while for odd ones every mode comes back one index too low. The index is kept when the inverse
    transform has another size, so a negative frequency −k, which sits at ``size`` − k, is aliased when
    the grid grows and dropped when it shrinks. Trained weights know no other convention.
    """
    frequency = np.arange(kept) - kept // 2
    return frequency, (frequency + 2 * (size // 2)) % size


def basis_matrices(grid: Grid, out_grid: Grid, modes: Grid) -> tuple[Matrix, ...]:
    """The four matrices of `Basis` in float64.

    The transform is divided by X·Y (torch's norm "forward"), its inverse is not. The inverse has the
    semantics of NumPy: a complex transform over x, then a real one over y that reads only the real part
    of the constant and Nyquist columns.
    """
    (X, Y), (Xo, Yo), (mx, my) = grid, out_grid, modes
    frequency, index = frequencies(X, mx)
    columns = np.arange(my)

    angle = _angles(columns, Y)
    analysis_y = np.concatenate([np.cos(angle), -np.sin(angle)]) / (X * Y)
    angle = _angles(frequency, X).T
    cos, sin = np.cos(angle), np.sin(angle)
    analysis_x = np.stack([np.hstack([cos, -sin]), np.hstack([sin, cos])])
    # Spectrum times weight is rr − ii and ri + ir; the four come in the order rr, ri, ir, ii.
    angle = _angles(index, Xo)
    present = (index < Xo).astype(np.float64)[:, None]
    cos, sin = present * np.cos(angle), present * np.sin(angle)
    synthesis_x = np.stack([np.vstack([cos, -sin, -sin, -cos]), np.vstack([sin, cos, cos, -sin])])

    # A real signal's columns come in mirrored pairs of which one is kept; two are their own mirror.
    own_mirror = (columns == 0) | (2 * columns == Yo)
    share = np.where(2 * columns > Yo, 0.0, np.where(own_mirror, 1.0, 2.0))[:, None]
    angle = _angles(columns, Yo)
    sines = np.where(own_mirror[:, None], 0.0, np.sin(angle))
    synthesis_y = np.concatenate([share * np.cos(angle), -share * sines])
    return analysis_y, analysis_x, synthesis_x, synthesis_y


def _angles(frequency: NDArray[np.int64], size: int) -> Matrix:
    # The product is reduced as an integer, so that the angle keeps all its digits.
    reduced: Matrix = (np.outer(frequency, np.arange(size)) % size).astype(np.float64)
    return 2 * np.pi / size * reduced


@lru_cache(maxsize=64)
def basis(grid: Grid, out_grid: Grid, modes: Grid, dtype: torch.dtype, device: torch.device) -> Basis:
    """The matrices of `basis_matrices` as tensors, built in float64 and rounded once."""
    with torch.inference_mode(False):
        arrays = basis_matrices(grid, out_grid, modes)
        return Basis(*(torch.from_numpy(np.ascontiguousarray(a)).to(device, dtype) for a in arrays))


def constant(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, whose results torch.compile takes for constants.

    What torch.compiler.assume_constant_result does, without the two seconds that it takes to be imported.
    """

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    call._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return call


constant_basis = constant(basis)
