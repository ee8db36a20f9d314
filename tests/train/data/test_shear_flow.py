"""Initial conditions, what is refused, and resolution."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from ptprof.errors import PtprofError, UnresolvedFlow, UsageError
from ptprof.train.data.shear_flow import FIELDS, LENGTHS, Flow, points, simulate, simulate_batch
from ptprof.train.data.spectral import Basis
from ptprof.train.recipe import check_grid

FLOW: dict[str, Any] = {"reynolds": 500.0, "schmidt": 2.0, "n_shear": 2, "n_blobs": 2, "width": 1.0}
GRID = (48, 96)


def test_initial_condition_by_hand() -> None:
    """Two layers at y = ∓1/2 of thickness width/10; the first turns u from 1/2 to -1/2."""
    velocity, tracer = Flow(**FLOW).initial((64, 128))
    x, y = points((64, 128))
    assert (float(x[0]), float(y[0])) == (0.0, -1.0)
    assert float(x[16]) == 0.25
    assert float(y[32]) == -0.5
    row, layer = 8, 32
    u = velocity[0, row]
    assert float(u[64]) == pytest.approx(-0.5, abs=1e-4)
    assert float(u[layer]) == pytest.approx(0, abs=1e-8)
    at = float(y[layer + 4] - y[layer])
    assert float(u[layer + 4]) == pytest.approx(-math.tanh(at / 0.1) / 2, abs=1e-8)
    assert float(velocity[1, row, layer]) == pytest.approx(-0.1 * math.sin(2 * math.pi / 8), abs=1e-12)
    expected = 0.1 * math.sin(2 * math.pi / 8) * math.exp(-100 * at**2)
    assert float(velocity[1, row, 96 + 4]) == pytest.approx(expected, abs=1e-12)
    assert torch.equal(tracer, velocity[0])


@given(
    n_shear=st.sampled_from([2, 4]),
    n_blobs=st.integers(1, 6),
    width=st.floats(1, 4),
    schmidt=st.floats(0.1, 10),
)
@settings(deadline=None, max_examples=15)
def test_first_state_is_a_flow(n_shear: int, n_blobs: int, width: float, schmidt: float) -> None:
    """Free of divergence, pressure of mean zero, and as far from the unprojected velocity as it must be."""
    flow = Flow(1000.0, schmidt, n_shear, n_blobs, width)
    state = next(simulate_batch([flow], GRID, [0.0]))[0]
    basis = Basis(GRID, LENGTHS)
    u, v = basis.to_coefficients(state[2:])
    assert basis.to_points(1j * basis.kx * u + 1j * basis.ky * v).abs().max() < 1e-11
    assert state[1].mean().abs() < 1e-15
    fine, _ = flow.initial((4 * GRID[0], 4 * GRID[1]))
    given_ = basis.to_coefficients(fine)
    change = given_ - torch.stack([u, v])
    assert (basis.ky * change[0] - basis.kx * change[1]).abs().max() < 1e-12


def test_finer_grid_changes_little() -> None:
    flow = {**FLOW, "reynolds": 1000.0, "schmidt": 1.0, "n_shear": 4, "n_blobs": 3}
    coarse = simulate((48, 96), [1.0], **flow)
    fine = simulate((80, 160), [1.0], **flow)
    both = [Basis((48, 96), LENGTHS).to_coefficients(states[0]) for states in (coarse, fine)]
    error = (both[0] - both[1]).abs().square().sum((-2, -1)).sqrt()
    size = both[1].abs().square().sum((-2, -1)).sqrt()
    assert dict(zip(FIELDS, (error / size).tolist(), strict=True)) == pytest.approx(
        dict.fromkeys(FIELDS, 0), abs=3e-4
    )


def test_times_between_do_not_matter() -> None:
    (_, once), (*_, often) = (
        simulate((48, 48), t, **{**FLOW, "width": 2.0}) for t in ([0, 0.5], [0, 0.13, 0.5])
    )
    torch.testing.assert_close(often, once, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"reynolds": -1.0}, "reynolds must be a positive number"),
        ({"reynolds": math.nan}, "reynolds must be a positive number"),
        ({"schmidt": 0.0}, "schmidt must be a positive number"),
        ({"width": math.inf}, "width must be a positive number"),
        ({"n_shear": 3}, "n_shear must be even"),
        ({"n_shear": 0}, "n_shear must be a positive whole number"),
        ({"n_blobs": 2.5}, "n_blobs must be a positive whole number"),
        ({"grid": (32, 64)}, "a grid of 32x64 cannot be used"),
        ({"grid": (50, 100)}, "a grid of 50x100 cannot be used"),
        ({"times": []}, "at least one time"),
        ({"times": [0.0, 0.0]}, "times must increase"),
        ({"times": [1.0, 0.5]}, "times must increase"),
        ({"times": [-0.1]}, "times must be finite and not negative"),
        ({"times": [math.nan]}, "times must be finite and not negative"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        simulate(**{"grid": GRID, "times": [0.0], **FLOW, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 0.25}, "its shear layers are 0.025 thick and the points 0.0208 apart"),
        ({"reynolds": 1e5, "n_shear": 4, "times": [0.0, 3.0]}, r"the outer third of the wave numbers holds"),
    ],
)
def test_unresolved_flow_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UnresolvedFlow, match=says) as caught:
        simulate(**{"grid": GRID, "times": [0.0], **FLOW, **change})
    assert "\n" not in str(caught.value)


@given(st.integers(-8, 40), st.integers(-8, 40))
def test_grids_of_sixteens_from_48_on(nx: int, ny: int) -> None:
    check_grid((48 + 16 * abs(nx), 48 + 16 * abs(ny)))
    grid = (8 * nx, 8 * ny)
    if nx % 2 or ny % 2 or min(grid) < 48:
        with pytest.raises(PtprofError):
            check_grid(grid)
    else:
        check_grid(grid)


def test_coordinates_cover_the_domain_once() -> None:
    x, y = points(GRID)
    np.testing.assert_allclose(np.diff(x), LENGTHS[0] / GRID[0])
    np.testing.assert_allclose(np.diff(y), LENGTHS[1] / GRID[1])
    assert float(x[-1]) == pytest.approx(1 - 1 / 48)
    assert float(y[-1]) == pytest.approx(1 - 2 / 96)
