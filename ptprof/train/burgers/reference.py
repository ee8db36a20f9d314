"""The viscous Burgers' equation of the paper's appendix A, and its exact solution.

u_t + u u_x - ν u_xx = 0,   x ∈ [-1, 1], t ∈ [0, 1],   u(x, 0) = -sin(πx),   u(±1, t) = 0
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

VISCOSITY = 0.025
GRID = (256, 100)
"""Points in x and in t, both ends included."""
GRID_POINTS = GRID[0] * GRID[1]
NODES = 100
"""Nodes of the quadrature: from 80 on, more of them change nothing at the paper's viscosity."""

Array = np.ndarray[Any, np.dtype[np.float64]]


def axes() -> tuple[Array, Array]:
    """The grid's x ``(256,)`` and t ``(100,)``."""
    return np.linspace(-1.0, 1.0, GRID[0]), np.linspace(0.0, 1.0, GRID[1])


@cache
def grid() -> tuple[Array, Array]:
    """Every point of the grid as (x, t) ``(25600, 2)``, t running fastest, and u there ``(25600, 1)``.

    Computed once; the arrays cannot be written to.
    """
    x, t = np.meshgrid(*axes(), indexing="ij")
    points = np.stack([x.ravel(), t.ravel()], axis=1)
    u = solution(points[:, :1], points[:, 1:])
    points.flags.writeable = u.flags.writeable = False
    return points, u


def solution(x: Array, t: Array, viscosity: float = VISCOSITY, nodes: int = NODES) -> Array:
    """The exact solution at ``(x, t)``, arrays of any one shape, to about 1e-14 on the paper's grid.

    The Cole–Hopf transform u = -2ν φ_x/φ turns the equation into the heat equation, whose solution is an
    integral against a Gaussian; with η = 2 √(νt) ζ both integrals are sums over Gauss–Hermite nodes ζ:

        u(x, t) = - ∫ sin(π(x-η)) f(x-η) exp(-η²/4νt) dη / ∫ f(x-η) exp(-η²/4νt) dη,
        f(y) = exp(-cos(πy) / 2πν)

    (J. D. Cole, Quart. Appl. Math. 9 (1951) 225; E. Hopf, Comm. Pure Appl. Math. 3 (1950) 201; C. Basdevant
    et al., Comput. Fluids 14 (1986) 23). The largest exponent is taken out of both, so that no viscosity
    overflows.
    """
    zeta, weights = np.polynomial.hermite.hermgauss(nodes)
    y = x[..., None] - 2.0 * np.sqrt(viscosity * t)[..., None] * zeta
    exponent = -np.cos(np.pi * y) / (2.0 * np.pi * viscosity)
    f = weights * np.exp(exponent - exponent.max(axis=-1, keepdims=True))
    u: Array = -(np.sin(np.pi * y) * f).sum(axis=-1) / f.sum(axis=-1)
    return u
