"""Coefficients, points and products."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

from ptprof.train.data.spectral import Basis

LENGTHS = (1.0, 2.0)
SIDES = st.integers(2, 8).map(lambda half: 2 * half)


@st.composite
def coefficients(draw: st.DrawFn) -> tuple[Basis, torch.Tensor]:
    """A basis, and the coefficients in it of two real fields."""
    basis = Basis((draw(SIDES), draw(SIDES)), LENGTHS)
    values: NDArray[np.float64] = draw(
        arrays.arrays(np.float64, (2, *basis.grid), elements=st.floats(-1, 1, width=32))
    )
    return basis, basis.to_coefficients(torch.from_numpy(values))


@given(coefficients(), st.integers(0, 4))
@settings(deadline=None, max_examples=50)
def test_points_on_any_finer_grid_have_the_same_coefficients(
    case: tuple[Basis, torch.Tensor], more: int
) -> None:
    basis, given_ = case
    grid = (basis.grid[0] + 2 * more, basis.grid[1] + 2 * more)
    found = basis.to_coefficients(basis.to_points(given_, grid))
    torch.testing.assert_close(found, given_, rtol=0, atol=1e-13)


@given(coefficients())
@settings(deadline=None, max_examples=50)
def test_products_on_the_product_grid_have_no_aliases(case: tuple[Basis, torch.Tensor]) -> None:
    """The product formed on a grid so fine that no wave number of it is aliased has the same coefficients."""
    basis, fields = case
    found, exact = (
        basis.to_coefficients(basis.to_points(fields, grid).prod(0))
        for grid in (basis.product_grid, (4 * basis.grid[0], 4 * basis.grid[1]))
    )
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-13)


@given(coefficients())
@settings(deadline=None, max_examples=50)
def test_squares_sum_to_the_mean_square(case: tuple[Basis, torch.Tensor]) -> None:
    basis, fields = case
    mean_square = basis.to_points(fields).square().mean((-2, -1))
    torch.testing.assert_close(
        basis.sum_of_squares(fields).sum((-2, -1)), mean_square, rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize(("m", "n"), [(0, 0), (3, 5), (-7, 2), (-1, 11)])
def test_wave_numbers_stand_where_their_waves_are(m: int, n: int) -> None:
    basis = Basis((16, 24), LENGTHS)
    x = torch.arange(16, dtype=torch.float64)[:, None] / 16
    y = torch.arange(24, dtype=torch.float64)[None, :] / 24
    wave = torch.cos(2 * math.pi * (m * x + n * y))
    spectrum = basis.to_coefficients(wave)
    place = spectrum.abs() > 1e-12
    assert torch.equal(place, (basis.kx == 2 * math.pi * m) & (basis.ky == math.pi * n))
    assert spectrum[place].item() == pytest.approx(1.0 if m == n == 0 else 0.5, abs=1e-14)


def test_the_outer_third_is_of_each_direction() -> None:
    basis = Basis((48, 96), LENGTHS)
    x, y = (basis.kx.abs() / (2 * math.pi)).round(), (basis.ky / math.pi).round()
    assert torch.equal(basis.outer, (x > 16) | (y > 32))
