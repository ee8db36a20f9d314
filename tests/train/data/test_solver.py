"""The solver against exact solutions, balances and itself."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from ptprof.errors import UnresolvedFlow
from ptprof.train.data.shear_flow import LENGTHS, Flow, points
from ptprof.train.data.solver import NavierStokes
from ptprof.train.data.spectral import Basis

KX, KY = 2 * math.pi / LENGTHS[0], 2 * math.pi / LENGTHS[1]


def solver(
    velocity: Tensor, tracer: Tensor, *, viscosity: float = 1e-3, diffusivity: float = 2e-3, **options: float
) -> NavierStokes:
    """One flow, from its fields on its grid."""
    basis = Basis((velocity.shape[-2], velocity.shape[-1]), LENGTHS)
    return NavierStokes(
        basis,
        velocity[None],
        tracer[None],
        viscosity=torch.tensor([viscosity], dtype=torch.float64),
        diffusivity=torch.tensor([diffusivity], dtype=torch.float64),
        **options,
    )


def shear(grid: tuple[int, int] = (48, 96), n_blobs: int = 2, **options: float) -> NavierStokes:
    """A shear flow that rolls up."""
    return solver(*Flow(1000, 0.5, 4, n_blobs, 1.25).initial(grid), **options)


def mesh(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    x, y = points(grid)
    return x[:, None], y[None, :]


def taylor_green(
    grid: tuple[int, int], m: int, n: int, time: float = 0.0, viscosity: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Vortices that keep their shape, carried by a mean flow: velocity, pressure, and the shape's phase."""
    mean = (0.3, -0.2)
    a, b = m * KX, n * KY
    x, y = mesh(grid)
    x, y = a * (x - mean[0] * time), b * (y - mean[1] * time)
    amplitude = 0.05 * math.exp(-viscosity * (a**2 + b**2) * time)
    u = mean[0] - amplitude * b * torch.cos(x) * torch.sin(y)
    v = mean[1] + amplitude * a * torch.sin(x) * torch.cos(y)
    pressure = -(amplitude**2) / 4 * (b**2 * torch.cos(2 * x) + a**2 * torch.cos(2 * y))
    return torch.stack([u, v]), pressure, torch.cos(x) * torch.cos(y)


@given(m=st.integers(1, 3), n=st.integers(1, 5), viscosity=st.floats(1e-3, 1e-2))
@settings(deadline=None, max_examples=8)
def test_carried_taylor_green_vortices_decay_as_they_must(m: int, n: int, viscosity: float) -> None:
    grid, time = (24, 32), 0.5
    start, pressure, shape = taylor_green(grid, m, n)
    flow = solver(start, shape, viscosity=viscosity, diffusivity=viscosity)
    torch.testing.assert_close(flow.fields()[0, 1], pressure, rtol=0, atol=1e-13)
    flow.advance(time)
    velocity, pressure, shape = taylor_green(grid, m, n, time, viscosity)
    decay = math.exp(-viscosity * ((m * KX) ** 2 + (n * KY) ** 2) * time)
    exact = torch.stack([shape * decay, pressure, *velocity])
    torch.testing.assert_close(flow.fields()[0], exact, rtol=0, atol=2e-8)


def test_parallel_shear_layers_only_diffuse() -> None:
    """Without blobs nothing is advected: each wave of the profile decays at its own rate, to rounding."""
    grid, time, viscosity, diffusivity = (16, 96), 1.0, 2e-3, 5e-4
    flow = Flow(1 / viscosity, viscosity / diffusivity, 2, 2, 1.0)
    velocity, tracer = flow.initial(grid)
    profile = np.fft.rfft(velocity[0, 0].numpy())
    k2 = (KY * np.arange(profile.size)) ** 2
    profile[-1] = 0
    u, s = (np.fft.irfft(profile * np.exp(-rate * k2 * time)) for rate in (viscosity, diffusivity))
    still = velocity * torch.tensor([1.0, 0.0])[:, None, None]
    running = solver(still, tracer, viscosity=viscosity, diffusivity=diffusivity)
    running.advance(time)
    fields = running.fields()[0].numpy()
    exact = np.stack([np.broadcast_to(f, grid) for f in (s, 0 * s, u, 0 * u)])
    np.testing.assert_allclose(fields, exact, rtol=0, atol=1e-13)


def test_order_in_time_is_four() -> None:
    def after(steps: int) -> Tensor:
        flow = shear((48, 48))
        for _ in range(steps):
            flow.step(0.4 / steps)
        return flow.fields()

    coarse, fine, finest = (after(steps) for steps in (16, 32, 256))
    ratio = float((coarse - finest).norm() / (fine - finest).norm())
    assert 14 < ratio < 18


def test_estimated_error_is_of_order_four_and_bounds_the_true_one() -> None:
    flow = shear((48, 48))
    flow.advance(0.2)
    start = flow.fields()
    estimates, errors = [], []
    for dt in (0.01, 0.005):
        one, many = (solver(start[0, 2:], start[0, 0], viscosity=1e-3, diffusivity=2e-3) for _ in "12")
        estimates.append(one.step(dt))
        for _ in range(8):
            many.step(dt / 8)
        difference = (one.fields() - many.fields())[0, 2:].norm()
        errors.append(float(difference / many.fields()[0, 2:].norm()))
    assert 14 < estimates[0] / estimates[1] < 18
    assert all(true < estimate for true, estimate in zip(errors, estimates, strict=True))


@pytest.mark.parametrize("n_blobs", [2, 5])
def test_resolved_in_time_to_a_millionth(n_blobs: int) -> None:
    usual, strict = (
        list(shear(n_blobs=n_blobs, **options).run([0.1, 1.0])) for options in ({}, {"tolerance": 1e-10})
    )
    for found, exact in zip(usual, strict, strict=True):
        error = (found - exact).norm(dim=(-2, -1)) / exact.norm(dim=(-2, -1))
        assert error.max() < 1e-6


def test_tracer_that_starts_as_vorticity_stays_vorticity() -> None:
    flow = Flow(1000, 1, 4, 2, 1.25)
    velocity, _ = flow.initial((48, 96))
    start = solver(velocity, velocity[0])
    vorticity = start.basis.to_points(-1j * start.state[:, 0])[0]
    running = solver(velocity, vorticity, viscosity=1e-3, diffusivity=1e-3)
    running.advance(1.0)
    state = running.state[0]
    assert (state[1] + 1j * state[0]).norm() < 1e-10 * state[1].norm()


def test_balances_of_energy_and_tracer_variance() -> None:
    """d/dt of <u²>/2 is -ν <ω²>, that of <s²>/2 is -D <|∇s|²>: over 0.4 by Simpson's rule."""
    viscosity, diffusivity = 1e-3, 2e-3
    flow = shear(viscosity=viscosity, diffusivity=diffusivity)
    flow.advance(0.5)
    contents, rates = [], []
    times = np.linspace(0.5, 0.9, 21)
    for fields in flow.run(times):
        square = flow.basis.sum_of_squares(flow.state)[0]
        enstrophy, gradient = square[0].sum(), (square[1] * flow.basis.k2).sum()
        contents.append((fields[0, 2:].square().sum(0).mean() / 2, fields[0, 0].square().mean() / 2))
        rates.append((-viscosity * enstrophy, -diffusivity * gradient))
    weights = np.array([1, *[4, 2] * 9, 4, 1]) * (times[1] - times[0]) / 3
    gained = np.array(contents)[-1] - np.array(contents)[0]
    np.testing.assert_allclose(weights @ np.array(rates), gained, rtol=1e-7)


def test_momentum_equation_holds_with_the_pressure_given() -> None:
    """Everything in ∂t u + u·∇u + ∇p = ν∇²u from the fields alone, ∂t by central differences."""
    h, viscosity = 1e-3, 1e-3
    flow = shear(viscosity=viscosity)
    before, now, after = (fields[0].numpy() for fields in flow.run([0.5 - h, 0.5, 0.5 + h]))
    kx = 2j * np.pi * np.fft.fftfreq(48, 1 / 48)[:, None] / LENGTHS[0]
    ky = 2j * np.pi * np.fft.rfftfreq(96, 1 / 96)[None, :] / LENGTHS[1]

    def derivative(field: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(factor * np.fft.rfft2(field), s=(48, 96))

    _, pressure, u, v = now
    for component, k in ((2, kx), (3, ky)):
        w = now[component]
        advection = u * derivative(w, kx) + v * derivative(w, ky)
        rate = viscosity * derivative(w, kx**2 + ky**2) - advection - derivative(pressure, k)
        measured = (after[component] - before[component]) / (2 * h)
        assert np.abs(measured - rate).max() < 2e-5 * np.abs(advection).max()


def test_divergence_and_means() -> None:
    flow = shear(n_blobs=3)
    x, y = 1j * flow.basis.kx, 1j * flow.basis.ky
    tracer = float(flow.fields()[0, 0].mean())
    for fields in flow.run([0.0, 0.3]):
        assert fields[0, 1].mean().abs() < 1e-15
        assert float(fields[0, 0].mean()) == pytest.approx(tracer, abs=1e-15)
        u, v = flow.basis.to_coefficients(fields[0, 2:])
        gradient = flow.basis.to_points(x * u).abs().max()
        assert flow.basis.to_points(x * u + y * v).abs().max() < 1e-12 * max(gradient, 1.0)


def test_batched_is_one_by_one() -> None:
    flows = [Flow(500, 2, 2, 3, 1.0), Flow(1000, 0.5, 4, 2, 1.25)]
    grid, time = (48, 48), 0.5
    velocities, tracers = zip(*(flow.initial(grid) for flow in flows), strict=True)
    viscosity = torch.tensor([1 / flow.reynolds for flow in flows], dtype=torch.float64)
    diffusivity = viscosity / torch.tensor([flow.schmidt for flow in flows], dtype=torch.float64)
    together = NavierStokes(
        Basis(grid, LENGTHS),
        torch.stack(velocities),
        torch.stack(tracers),
        viscosity=viscosity,
        diffusivity=diffusivity,
    )
    together.advance(time)
    for i, velocity in enumerate(velocities):
        alone = solver(velocity, tracers[i], viscosity=float(viscosity[i]), diffusivity=float(diffusivity[i]))
        alone.advance(time)
        torch.testing.assert_close(together.fields()[i], alone.fields()[0], rtol=0, atol=1e-7)


def test_fluid_at_rest_rests() -> None:
    still = solver(torch.zeros(2, 48, 48, dtype=torch.float64), torch.ones(48, 48, dtype=torch.float64))
    still.advance(10.0)
    torch.testing.assert_close(still.fields()[0, 0], torch.ones(48, 48, dtype=torch.float64))
    assert still.fields()[0, 1:].abs().max() == 0


def test_a_flow_that_is_not_finite_ends_with_an_error() -> None:
    velocity, tracer = Flow(1000, 1, 4, 2, 1.25).initial((48, 48))
    flow = solver(velocity, torch.full_like(tracer, math.nan))
    with pytest.raises(UnresolvedFlow, match="blew up"):
        flow.advance(1.0)


@pytest.mark.gpu
def test_gpu_computes_what_the_cpu_does() -> None:
    velocity, tracer = Flow(1000, 1, 4, 2, 1.25).initial((48, 96))
    results = []
    for device in ("cpu", "cuda:0"):
        flow = NavierStokes(
            Basis((48, 96), LENGTHS, device),
            velocity[None].to(device),
            tracer[None].to(device),
            viscosity=torch.tensor([1e-3], dtype=torch.float64, device=device),
            diffusivity=torch.tensor([1e-3], dtype=torch.float64, device=device),
        )
        flow.advance(0.5)
        results.append(flow.fields().cpu())
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-10)
