"""The three losses of the paper's appendix A, which is all that tells the three models apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ptprof.errors import UsageError, unknown
from ptprof.train.burgers.derivatives import derivatives, seeds
from ptprof.train.burgers.network import Network
from ptprof.train.burgers.reference import GRID_POINTS, VISCOSITY, Array, axes, grid

NN = "burgers-nn"
TERMS = {
    NN: ("data",),
    "burgers-u-pinn": ("pde", "ic", "bc"),
    "burgers-s-pinn": ("data", "pde", "ic", "bc"),
}


@dataclass(frozen=True)
class Points:
    """Where a model is trained.

    ``points`` (x, t) ``(M, 2)`` hold what u is known for, ``targets`` ``(M, 1)``: data, initial and boundary
    points after each other; ``weights`` ``(M, 1)`` are one over the number of points of each. ``collocation``
    are the points of the residual as ``seeds`` makes them, None for a model without one.
    """

    points: Tensor
    targets: Tensor
    weights: Tensor
    collocation: Tensor | None


def check(model: str, count: int, seed: int) -> None:
    """Refuse what cannot be drawn.

    Raises
    ------
    UsageError : an unknown model, a negative seed, or a count that is not from 1 to the grid's 25,600
    """
    if model not in TERMS:
        raise unknown("model", model, TERMS)
    if not 1 <= count <= GRID_POINTS:
        raise UsageError(f"training points are from 1 to the grid's {GRID_POINTS:,}, and not {count:,}")
    if seed < 0:
        raise UsageError(f"seed must not be negative, and is {seed}")


def sample(
    model: str, count: int, seed: int, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Points:
    """Draw the training points of ``model``.

    Data and collocation points are ``count`` each, drawn from the grid without replacement, independently
    of each other. The initial condition is asked for at every x of the grid (256 points) and the boundary
    at every t on both sides (2 × 100), whatever the count.

    Raises what ``check`` does.
    """
    check(model, count, seed)
    terms = TERMS[model]
    everywhere, u = grid()
    data, collocation = (
        np.random.default_rng([seed, draw]).choice(GRID_POINTS, count, replace=False) for draw in (0, 1)
    )
    known = {"data": (everywhere[data], u[data], count), **_conditions()}
    chosen = [known[term] for term in terms if term in known]

    def tensor(values: Array) -> Tensor:
        return torch.as_tensor(values, dtype=dtype, device=device)

    return Points(
        points=tensor(np.concatenate([points for points, _, _ in chosen])),
        targets=tensor(np.concatenate([targets for _, targets, _ in chosen])),
        weights=tensor(np.concatenate([np.full_like(targets, 1 / n) for _, targets, n in chosen])),
        collocation=seeds(tensor(everywhere[collocation])) if "pde" in terms else None,
    )


def loss(network: Network, points: Points) -> Tensor:
    """The sum of the model's terms, each a mean of squares (equations 5 to 7 of the paper's appendix).

    The boundary's term is the mean over t of u(-1, t)² + u(1, t)².
    """
    errors = network(points.points) - points.targets
    total: Tensor = (points.weights * errors**2).sum()
    if points.collocation is not None:
        total = total + (residual(network, points.collocation) ** 2).mean()
    return total


def residual(network: Network, collocation: Tensor) -> Tensor:
    """u_t + u u_x - ν u_xx ``(1, N)``, at the points that ``seeds`` made ``collocation`` from."""
    u, u_x, u_t, u_xx = derivatives(network, collocation)
    return u_t + u * u_x - VISCOSITY * u_xx


def _conditions() -> dict[str, tuple[Array, Array, int]]:
    """Points, targets and the number to divide by of the initial and the boundary condition."""
    x, t = axes()
    start = np.stack([x, np.zeros_like(x)], axis=1)
    ends = np.concatenate([np.stack([np.full_like(t, side), t], axis=1) for side in (-1.0, 1.0)])
    return {
        "ic": (start, -np.sin(np.pi * start[:, :1]), len(x)),
        "bc": (ends, np.zeros((len(ends), 1)), len(t)),
    }
