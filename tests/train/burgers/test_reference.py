"""The exact solution against two other methods, and against what is known of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.special import ive

from ptprof.train.burgers.reference import GRID, VISCOSITY, axes, grid, solution

CLASSIC = 0.01 / np.pi


def fourier_bessel(x: np.ndarray, t: np.ndarray, terms: int = 200) -> np.ndarray:
    """Cole's series: the heat equation's solution from φ(x, 0) = exp(-cos(πx)/2πν), term by term."""
    k = np.arange(1, terms)
    z = 1 / (2 * np.pi * VISCOSITY)
    a = 2 * (-1.0) ** k * ive(k, z) * np.exp(-((k * np.pi) ** 2) * VISCOSITY * t[..., None])
    above = (k * a * np.sin(k * np.pi * x[..., None])).sum(-1)
    return 2 * np.pi * VISCOSITY * above / (ive(0, z) + (a * np.cos(k * np.pi * x[..., None])).sum(-1))


def spectral(modes: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equation itself, u_t = -(u²/2)_x + ν u_xx, on periodic x ∈ [-1, 1) with Fourier derivatives."""
    x = -1 + 2 * np.arange(modes) / modes
    k = np.pi * np.fft.rfftfreq(modes, 1 / modes)

    def rate(_: float, u: np.ndarray) -> np.ndarray:
        spectrum = -0.5j * k * np.fft.rfft(u**2) - VISCOSITY * k**2 * np.fft.rfft(u)
        return np.fft.irfft(spectrum, modes)

    made = solve_ivp(rate, (0, 1), -np.sin(np.pi * x), "DOP853", times, rtol=1e-10, atol=1e-11)
    return x, made.y


def test_on_the_whole_grid_it_is_coles_series() -> None:
    points, u = grid()
    # The series loses digits to cancellation where t is small; the quadrature does not.
    np.testing.assert_allclose(u[:, 0], fourier_bessel(points[:, 0], points[:, 1]), atol=3e-11)


def test_more_nodes_change_nothing() -> None:
    points, u = grid()
    finer = solution(points[::7, :1], points[::7, 1:], nodes=140)
    assert np.abs(u[::7] - finer).max() < 5e-14


def test_it_solves_the_equation_as_a_spectral_solver_does() -> None:
    times = np.array([0.1, 0.4, 0.7, 1.0])
    x, u = spectral(512, times)
    exact = solution(np.repeat(x[:, None], 4, 1), np.broadcast_to(times, (512, 4)))
    np.testing.assert_allclose(u, exact, atol=1e-8)


def test_initial_and_boundary_conditions() -> None:
    x, t = axes()
    u = grid()[1].reshape(GRID)
    assert (len(x), len(t)) == (256, 100)
    assert (x[0], x[-1], t[0], t[-1]) == (-1, 1, 0, 1)
    np.testing.assert_allclose(u[:, 0], -np.sin(np.pi * x), atol=1e-14)
    np.testing.assert_allclose(u[[0, -1]], 0, atol=1e-14)


def test_odd_in_x_and_its_energy_falls() -> None:
    u = grid()[1].reshape(GRID)
    np.testing.assert_allclose(u, -u[::-1], atol=1e-14)
    assert np.all(np.diff((u**2).mean(axis=0)) < 0)


def test_the_steepest_slope_of_the_classic_case() -> None:
    """At ν = 0.01/π the slope at x = 0 is 152.00516 at t = 1.6037/π, its steepest (Basdevant et al. 1986)."""
    h = 1e-6
    x, t = np.array([h, -h]), np.full(2, 1.6037 / np.pi)
    right, left = solution(x, t, viscosity=CLASSIC)
    assert -(right - left) / (2 * h) == pytest.approx(152.00516, abs=1e-4)


@given(x=st.floats(-1, 1), t=st.floats(0, 1), viscosity=st.floats(1e-6, 1.0))
def test_no_viscosity_overflows_and_the_maximum_principle_holds(x: float, t: float, viscosity: float) -> None:
    u = solution(np.array([x]), np.array([t]), viscosity=viscosity)
    assert np.abs(u[0]) <= 1 + 1e-12
