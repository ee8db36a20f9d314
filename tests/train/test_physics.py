"""Divergence, vorticity and tracer conservation against fields whose answer is known, and our own solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ptprof.train import physics
from ptprof.train.data.shear_flow import LENGTHS, simulate
from ptprof.train.spectra import Modes

GRID = (32, 48)
MODES = Modes(GRID, LENGTHS)
X = torch.arange(GRID[0], dtype=torch.float64)[:, None] / GRID[0]
Y = torch.arange(GRID[1], dtype=torch.float64)[None, :] / GRID[1] * 2 - 1
TAU = 2 * math.pi


def hat(*components: Tensor) -> Tensor:
    return MODES.transform(torch.stack([c.expand(GRID) for c in components]))


def points(coefficients: Tensor) -> Tensor:
    return torch.fft.irfft2(coefficients, s=GRID, norm="forward")


def taylor_green(amplitude: float = 1.0) -> Tensor:
    u = amplitude * torch.sin(TAU * X) * torch.cos(math.pi * Y)
    v = -2 * amplitude * torch.cos(TAU * X) * torch.sin(math.pi * Y)
    return hat(u, v)


def test_taylor_green_has_no_divergence_and_its_vorticity() -> None:
    flow = taylor_green()
    assert points(physics.divergence(flow, MODES)).abs().max() < 1e-13
    # ∂v/∂x - ∂u/∂y with a = 2π, b = π: (2a + b) sin(ax) sin(by).
    expected = (2 * TAU + math.pi) * torch.sin(TAU * X) * torch.sin(math.pi * Y)
    torch.testing.assert_close(points(physics.vorticity(flow, MODES)), expected)
    assert physics.relative_divergence(flow, flow, MODES).item() < 1e-14


def test_a_gradient_is_all_divergence_and_no_vorticity() -> None:
    # ∇φ with φ = sin(2πx) cos(3πy).
    u = TAU * torch.cos(TAU * X) * torch.cos(3 * math.pi * Y)
    v = -3 * math.pi * torch.sin(TAU * X) * torch.sin(3 * math.pi * Y)
    expected = -(TAU**2 + 9 * math.pi**2) * torch.sin(TAU * X) * torch.cos(3 * math.pi * Y)
    torch.testing.assert_close(points(physics.divergence(hat(u, v), MODES)), expected)
    assert points(physics.vorticity(hat(u, v), MODES)).abs().max() < 1e-12
    assert physics.relative_divergence(hat(u, v), hat(u, v), MODES).item() == pytest.approx(1.0, abs=1e-14)


def test_divergence_is_measured_by_the_truth_s_gradient() -> None:
    wave = torch.cos(TAU * X)
    ratio = physics.relative_divergence(hat(3 * wave, 0 * X), hat(0 * X, wave), MODES)
    assert ratio.item() == pytest.approx(3.0, rel=1e-14)


def test_waves_at_nyquist_have_no_derivative() -> None:
    alternating = torch.cos(math.pi * torch.arange(GRID[0], dtype=torch.float64))[:, None] * torch.ones(GRID)
    assert physics.divergence(hat(alternating, 0 * X), MODES).abs().max() < 1e-13


def test_vorticity_vrmse_is_the_vrmse_of_the_vorticity() -> None:
    generator = torch.Generator().manual_seed(0)
    p, t = torch.randn(2, 2, *GRID, generator=generator, dtype=torch.float64)
    w_p, w_t = (points(physics.vorticity(MODES.transform(f), MODES)).numpy() for f in (p, t))
    expected = math.sqrt(((w_p - w_t) ** 2).mean() / (w_t.var(ddof=1) + 1e-7))
    actual = physics.vorticity_vrmse(MODES.transform(p), MODES.transform(t), MODES)
    assert actual.item() == pytest.approx(expected, rel=1e-12)
    still = torch.zeros_like(taylor_green())
    assert physics.vorticity_vrmse(still, taylor_green(), MODES).item() == pytest.approx(1.0, rel=1e-3)


def test_tracer_drift_and_variance() -> None:
    s = torch.sin(TAU * X).expand(GRID)
    start, moved = (MODES.transform(f) for f in (s + 5.0, 0.5 * s + 5.3))
    assert physics.mean_drift(moved, start, MODES).item() == pytest.approx(0.3 / math.sqrt(0.5), rel=1e-12)
    assert physics.variance_error(moved, start, MODES).item() == pytest.approx(0.75, rel=1e-12)
    assert physics.variance_error(start, moved, MODES).item() == pytest.approx(3.0, rel=1e-12)


def test_what_is_undefined_is_nan() -> None:
    uniform = hat(torch.ones(GRID), torch.ones(GRID))
    assert physics.relative_divergence(taylor_green(), uniform, MODES).isnan()
    wave, scalar = taylor_green()[0], uniform[0]
    assert physics.mean_drift(wave, scalar, MODES).isnan()
    assert physics.variance_error(wave, scalar, MODES).isnan()
    assert physics.variance_error(scalar, wave, MODES).item() == 1.0


def test_the_solver_keeps_to_the_physics() -> None:
    grid = (48, 96)
    states = simulate(
        grid, np.linspace(0.1, 1.0, 4), reynolds=500, schmidt=1, n_shear=2, n_blobs=2, width=1.5
    )
    modes = Modes(grid, LENGTHS)
    flow = modes.transform(states)
    velocity, tracer = flow[:, 2:], flow[:, 0]
    assert physics.relative_divergence(velocity, velocity, modes).max() < 1e-12
    assert physics.mean_drift(tracer, tracer[:1], modes).max() < 1e-12
    variance = modes.mean_square(tracer)
    assert (variance[1:] < variance[:-1]).all()
    # float32, as it is kept on disk, sets the floor of divergence that a data set shows.
    rounded = modes.transform(states[:, 2:].float())
    assert 1e-8 < physics.relative_divergence(rounded, rounded, modes).max() < 1e-5
