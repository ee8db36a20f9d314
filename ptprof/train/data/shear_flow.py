"""The paper's shear flow: its initial conditions, and their simulation.

A velocity along x that changes sign across layers at y_k, and blobs of vertical velocity that disturb them,
on x ∈ [0, 1), y ∈ [-1, 1), both periodic. With ζ = n_shear (y - y_k) / (2 width) and alternating sign ±1,

    u_x = 1/2 + Σ ±1/2 tanh(10 ζ),   u_y = Σ 1/10 sin(±n_blobs π x) exp(-100 ζ²),   s = u_x,

as the generator of The Well's shear_flow computes them (github.com/RudyMorel/the-well-rbc-sf); the formulas
in the data set's description differ. ν = 1/reynolds, D = ν/schmidt. An odd n_blobs leaves a kink of u_y at
x = 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptprof.errors import UnresolvedFlow, UsageError
from ptprof.train.data.solver import NavierStokes
from ptprof.train.data.spectral import Basis
from ptprof.train.recipe import check_grid

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
LENGTHS = (1.0, 2.0)

POINTS_PER_LAYER = 2.0
"""Least thickness of a shear layer, the length over which tanh rises, in points along y."""

LARGEST_TAIL = 1e-3
"""Largest share of enstrophy or of tracer variance in the outer third of the wave numbers, after time 0.

At this share fields differ by some 2 % from those of a grid twice as fine."""

OVERSAMPLING = 4
"""Initial conditions are sampled this many times finer, so that the kinks alias little."""


@dataclass(frozen=True)
class Flow:
    """One simulation: the Reynolds and Schmidt number, and what sets its initial condition.

    Raises
    ------
    UsageError : a value that makes no flow
    """

    reynolds: float
    schmidt: float
    n_shear: int
    n_blobs: int
    width: float

    def __post_init__(self) -> None:
        for name in ("reynolds", "schmidt", "width"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} must be a positive number, and is {value}")
        for name in ("n_shear", "n_blobs"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise UsageError(f"{name} must be a positive whole number, and is {value}")
        if self.n_shear % 2:
            raise UsageError(f"n_shear must be even for a periodic flow, and is {self.n_shear}")

    def __str__(self) -> str:
        return (
            f"the flow of Reynolds {self.reynolds:g}, Schmidt {self.schmidt:g}, n_shear {self.n_shear},"
            f" n_blobs {self.n_blobs}, width {self.width:g}"
        )

    @property
    def layer_thickness(self) -> float:
        """The length δ of a layer's tanh(y/δ)."""
        return 0.2 * self.width / self.n_shear

    def initial(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Velocity ``(2, X, Y)``, whose divergence is not zero, and tracer ``(X, Y)`` at time 0."""
        x, y = points(grid)
        x, y = x[:, None], y[None, :]
        u = torch.full(grid, 0.5, dtype=torch.float64)
        v = torch.zeros(grid, dtype=torch.float64)
        for k in range(self.n_shear):
            sign = 2 * (k % 2) - 1
            centre = -1 + (2 * k + 1) / self.n_shear
            zeta = self.n_shear * (y - centre) / (2 * self.width)
            u = u + sign / 2 * torch.tanh(10 * zeta)
            v = v + 0.1 * torch.sin(sign * self.n_blobs * math.pi * x) * torch.exp(-100 * zeta**2)
        return torch.stack([u, v]), u


def points(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The coordinates of the grid's points along x and along y, float64."""
    nx, ny = grid
    return (
        torch.arange(nx, dtype=torch.float64) / nx * LENGTHS[0],
        torch.arange(ny, dtype=torch.float64) / ny * LENGTHS[1] - LENGTHS[1] / 2,
    )


def simulate(
    grid: tuple[int, int],
    times: Sequence[float],
    *,
    reynolds: float,
    schmidt: float,
    n_shear: int,
    n_blobs: int,
    width: float,
    device: str = "cpu",
) -> Tensor:
    """One simulation, as ``(T, C, X, Y)`` float64 on the CPU.

    Parameters
    ----------
    grid : ``(X, Y)``, sides multiples of 16 and the shorter at least 48
    times : increasing, from 0 on
    reynolds, schmidt, n_shear, n_blobs, width : see this module
    device : where to compute

    Returns
    -------
    tracer, pressure (its mean zero), velocity_x, velocity_y; at time 0 the velocity is already free of
    divergence, and the pressure the one that keeps it so

    Raises
    ------
    UsageError : a grid, a time or a parameter that cannot be
    UnresolvedFlow : the grid is too coarse for the flow
    """
    flow = Flow(reynolds, schmidt, n_shear, n_blobs, width)
    return torch.cat([state.cpu() for state in simulate_batch([flow], grid, times, device=device)])


def simulate_batch(
    flows: Sequence[Flow], grid: tuple[int, int], times: Sequence[float], *, device: str = "cpu"
) -> Iterator[Tensor]:
    """Simulate ``flows`` together: yields ``(B, C, X, Y)`` float64 on ``device`` at each of ``times``.

    Raises
    ------
    as ``simulate``
    """
    check_grid(grid)
    _check_times(times)
    for flow in flows:
        _check_layers(flow, grid)
    return _simulate(flows, grid, times, device)


def _simulate(
    flows: Sequence[Flow], grid: tuple[int, int], times: Sequence[float], device: str
) -> Iterator[Tensor]:
    basis = Basis(grid, LENGTHS, device)
    initial = [flow.initial((OVERSAMPLING * grid[0], OVERSAMPLING * grid[1])) for flow in flows]
    viscosity = torch.tensor([1 / flow.reynolds for flow in flows], dtype=torch.float64, device=device)
    schmidt = torch.tensor([flow.schmidt for flow in flows], dtype=torch.float64, device=device)
    solver = NavierStokes(
        basis,
        torch.stack([velocity for velocity, _ in initial]).to(device),
        torch.stack([tracer for _, tracer in initial]).to(device),
        viscosity=viscosity,
        diffusivity=viscosity / schmidt,
    )
    for time, state in zip(times, solver.run(times), strict=True):
        if time > 0:
            _check_tails(flows, grid, time, solver.tail())
        yield state


def _check_times(times: Sequence[float]) -> None:
    if not len(times):
        raise UsageError("a simulation needs at least one time")
    if not all(math.isfinite(t) for t in times) or times[0] < 0:
        raise UsageError("times must be finite and not negative")
    if any(b <= a for a, b in itertools.pairwise(times)):
        raise UsageError("times must increase")


def _check_layers(flow: Flow, grid: tuple[int, int]) -> None:
    spacing = LENGTHS[1] / grid[1]
    if flow.layer_thickness < POINTS_PER_LAYER * spacing:
        raise UnresolvedFlow(
            f"{flow} cannot be resolved on a {grid[0]}x{grid[1]} grid: its shear layers are"
            f" {flow.layer_thickness:.3g} thick and the points {spacing:.3g} apart; refine it or widen them"
        )


def _check_tails(flows: Sequence[Flow], grid: tuple[int, int], time: float, tails: Tensor) -> None:
    worst = tails.amax(1)
    share, index = float(worst.max()), int(worst.argmax())
    if not share <= LARGEST_TAIL:
        quantity = "enstrophy" if tails[index, 0] >= tails[index, 1] else "tracer variance"
        raise UnresolvedFlow(
            f"{flows[index]} is not resolved on a {grid[0]}x{grid[1]} grid: at t = {time:g} the outer third"
            f" of the wave numbers holds {share:.2g} of its {quantity}; take a finer grid or a lower Reynolds"
            " number"
        )
