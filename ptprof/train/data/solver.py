"""Incompressible Navier-Stokes with a passive tracer on a doubly periodic rectangle, spectral in space.

    ∂t u + u·∇u + ∇p = ν ∇²u,   ∂t s + u·∇s = D ∇²s,   ∇·u = 0,   ∫p = 0

is advanced as vorticity ω = ∂x u_y - ∂y u_x and tracer, so that the velocity is free of divergence by
construction; the mean velocity, which vorticity does not hold, is constant in time. The non-linear terms are
formed as ∂t ω = ∂x∂y(u_x² - u_y²) + (∂yy - ∂xx) u_x u_y (C. Basdevant, J. Comput. Phys. 50, 1983) and
∂t s = -∂x(u_x s) - ∂y(u_y s): seven transforms in all, on the points of the 3/2 rule. In time it is the
classical Runge-Kutta method of order 4, diffusion in an integrating factor, with the embedded method of
order 3 of S. Balac and F. Mahé (Comput. Phys. Commun. 184, 2013), which tells the error of a step for free.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ptprof.errors import UnresolvedFlow
from ptprof.train.data.spectral import Basis

TOLERANCE = 3e-9
"""Largest estimated error of one step, relative to the velocity's and to the tracer's fluctuation."""

COURANT = 0.7
"""Largest (|u_x|/Δx + |u_y|/Δy) Δt of a step; the method is unstable from 2.8/π on."""

SMALLEST_STEP = 1e-9
"""A step below this means that no step satisfies the tolerance: the flow has blown up."""


class NavierStokes:
    """A batch of flows on one grid, each with its own viscosity and diffusivity.

    ``state`` holds the coefficients of iω and of s, ``(B, 2, X, Y / 2)``: with iω for ω every factor of the
    equations is real, but for one -i in front of all the non-linear terms, which only `step` applies.

    Parameters
    ----------
    basis : the grid and its transforms
    velocity : ``(B, 2, X', Y')`` at time 0, on the basis' grid or a finer one; divergence is projected away
    tracer : ``(B, X', Y')`` at time 0
    viscosity, diffusivity : ν and D, ``(B,)``
    tolerance : the largest estimated error of a step
    """

    def __init__(
        self,
        basis: Basis,
        velocity: Tensor,
        tracer: Tensor,
        *,
        viscosity: Tensor,
        diffusivity: Tensor,
        tolerance: float = TOLERANCE,
    ) -> None:
        self.basis = basis
        self.tolerance = tolerance
        self.time = 0.0
        self.steps = 0
        kx, ky = basis.kx, basis.ky
        u = basis.to_coefficients(velocity)
        self._mean_velocity = u[..., 0, 0].clone()
        self.state = torch.stack([ky * u[:, 0] - kx * u[:, 1], basis.to_coefficients(tracer)], dim=1)
        rates = torch.stack([viscosity, diffusivity], dim=1).to(basis.k2)
        self._damping = rates[:, :, None, None] * basis.k2
        self._halfway: tuple[float, Tensor] = (0.0, torch.empty(0))
        fluctuation = basis.multiplicity * (basis.k2 > 0)
        self._weight = torch.stack([fluctuation * basis.inverse_k2, fluctuation])
        self._to_velocity = torch.stack([ky * basis.inverse_k2, -kx * basis.inverse_k2])
        first = torch.stack([kx * ky, kx.expand_as(basis.k2)]) * basis.below_nyquist
        second = torch.stack([ky**2 - kx**2, ky.expand_as(basis.k2)]) * basis.below_nyquist
        factors = (self._to_velocity, first, second)
        self._factors = [torch.unflatten(f, -2, (2, -1)).to(self.state) for f in factors]
        count = len(self.state)
        nx, ny = basis.product_grid
        self._padded = self.state.new_zeros(count, 3, nx, ny // 2 + 1)
        low = basis.low(self._padded)
        self._low_velocity, self._low_tracer = low[:, :2], low[:, 2]
        self._padded_mean = self._padded[:, :2, 0, 0]
        self._products = self.state.real.new_empty(count, 4, nx, ny)
        self._tendency, self._speed = self._nonlinear(self.state), self._courant_speed()
        self._proposal = 0.1 * self._longest_step()

    def run(self, times: Sequence[float]) -> Iterator[Tensor]:
        """Yield the fields ``(B, 4, X, Y)`` at each of ``times``, which increase from the present on."""
        for time in times:
            self.advance(time)
            yield self.fields()

    def advance(self, time: float) -> None:
        """Go on to ``time``, in steps that keep to the tolerance and to the Courant number.

        Raises
        ------
        UnresolvedFlow : no step is short enough
        """
        while (left := time - self.time) > SMALLEST_STEP:
            longest = min(self._proposal, self._longest_step())
            count = max(1, math.ceil(left / longest * (1 - 1e-12)))
            dt = left / count
            error = self.step(dt, self.tolerance)
            if error <= self.tolerance:
                if count == 1:
                    self.time = time
                growth = min(2.0, 0.9 * (self.tolerance / error) ** 0.25) if error > 0 else 2.0
                if growth > 1.2:
                    self._proposal = max(self._proposal, dt * growth)
            else:
                shrunk = 0.9 * (self.tolerance / error) ** 0.25 if math.isfinite(error) else 0.0
                self._proposal = dt * max(0.2, shrunk)
            if self._proposal < SMALLEST_STEP:
                raise UnresolvedFlow(f"the flow blew up at t = {self.time:.4g}: no time step is short enough")

    def step(self, dt: float, tolerance: float = math.inf) -> float:
        """Take one step of ``dt`` if its estimated error is at most ``tolerance``; returns the estimate.

        The estimate is the L2 norm of the difference to order 3, relative to that of the fluctuation, of
        velocity or of tracer, whichever is larger, in the flow of the batch where it is largest.
        """
        if self._halfway[0] != dt:
            self._halfway = (dt, torch.exp(-self._damping * (dt / 2)).to(self.state))
        half = self._halfway[1]
        first = half * self._tendency
        moved = half * self.state
        second = self._nonlinear(torch.add(moved, first, alpha=-0.5j * dt))
        third = self._nonlinear(torch.add(moved, second, alpha=-0.5j * dt))
        fourth = self._nonlinear(torch.add(moved, third, alpha=-1j * dt).mul_(half))
        first.add_(second.add_(third), alpha=2)
        state = moved.add_(first, alpha=-1j / 6 * dt).mul_(half).add_(fourth, alpha=-1j / 6 * dt)
        tendency = self._nonlinear(state)
        difference = self._norm(fourth - tendency)
        error = float((dt / 10 * difference / self._norm(self.state).clamp(min=1e-30)).amax())
        if error <= tolerance:
            self.state, self._tendency, self._speed = state, tendency, self._courant_speed()
            self.time += dt
            self.steps += 1
        return error

    def fields(self) -> Tensor:
        """Tracer, pressure and velocity ``(B, 4, X, Y)`` now."""
        basis = self.basis
        velocity = self.velocity()
        u, v = basis.to_points(velocity, basis.product_grid).unbind(1)
        uu, uv, vv = basis.to_coefficients(torch.stack([u * u, u * v, v * v], dim=1)).unbind(1)
        kx, ky = basis.kx, basis.ky
        pressure = -basis.inverse_k2 * (kx**2 * uu + 2 * kx * ky * uv + ky**2 * vv)
        return basis.to_points(torch.stack([self.state[:, 1], pressure, *velocity.unbind(1)], dim=1))

    def velocity(self) -> Tensor:
        """The coefficients of the velocity, ``(B, 2, X, Y / 2)``."""
        velocity = self._to_velocity * self.state[:, :1]
        velocity[..., 0, 0] = self._mean_velocity
        return velocity

    def tail(self) -> Tensor:
        """The shares ``(B, 2)`` of enstrophy and tracer variance in the outer third of the wave numbers."""
        squares = self.basis.sum_of_squares(self.state)
        squares[..., 0, 0] = 0
        total = squares.sum((-2, -1)).clamp(min=1e-60)
        return (squares * self.basis.outer).sum((-2, -1)) / total

    def _longest_step(self) -> float:
        return COURANT / self._speed if self._speed > 0 else math.inf

    def _norm(self, state: Tensor) -> Tensor:
        """The L2 norms ``(B, 2)`` of velocity and tracer, means left out."""
        return (self._weight * (state.real**2 + state.imag**2)).sum((-2, -1)).sqrt()

    def _nonlinear(self, state: Tensor) -> Tensor:
        """The non-linear terms of ``state``'s rate, times i; the velocity on points stays in ``_points``.

        Written for speed, in few operations and into arrays that are kept: coefficients go straight into
        one that is padded for the products and stays zero elsewhere.
        """
        to_velocity, first, second = self._factors
        blocks = torch.unflatten(state, -2, (2, -1))
        torch.mul(blocks[:, :1], to_velocity, out=self._low_velocity)
        self._low_tracer.copy_(blocks[:, 1])
        self._padded_mean.copy_(self._mean_velocity)
        self._points = torch.fft.irfft2(self._padded, s=self.basis.product_grid, norm="forward")
        u, v, products = self._points[:, 0], self._points[:, 1], self._products
        torch.mul(u, u, out=products[:, 0]).addcmul_(v, v, value=-1)
        torch.mul(u, v, out=products[:, 2])
        torch.mul(self._points[:, :2], self._points[:, 2:], out=products[:, 1::2])
        terms = self.basis.low(torch.fft.rfft2(products, norm="forward"))
        rate = torch.mul(terms[:, :2], first).addcmul_(terms[:, 2:], second)
        return rate.flatten(-3, -2)

    def _courant_speed(self) -> float:
        """The largest |u_x|/Δx + |u_y|/Δy of the batch where ``_nonlinear`` was last asked."""
        (nx, ny), (lx, ly) = self.basis.grid, self.basis.lengths
        u, v, _ = self._points.unbind(1)
        return float((u.abs() * (nx / lx)).add_(v.abs(), alpha=ny / ly).amax())
