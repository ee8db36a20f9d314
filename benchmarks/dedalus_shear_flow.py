"""The shear flow of `ptprof.train.data.shear_flow` in Dedalus 3, for any interpreter that has Dedalus.

Equations, initial condition and truncation are ours, written anew in Dedalus' terms: fields on Fourier bases
with products on 3/2 as many points, the initial condition sampled four times as densely, its divergence
projected away by a Poisson problem, and the pressure of every state written from another one.

    OMP_NUM_THREADS=1 python benchmarks/dedalus_shear_flow.py --steps 400 --times 1 2 --out flow.npz
    OMP_NUM_THREADS=1 mpirun -n 2 python benchmarks/dedalus_shear_flow.py --steps 400 --out flow.npz

Dedalus 3.0.5 on Debian: apt-get install libopenmpi-dev openmpi-bin libfftw3-mpi-dev libfftw3-dev, and then
CC=mpicc MPI_PATH=/usr/lib/x86_64-linux-gnu/openmpi FFTW_PATH=/usr pip install dedalus==3.0.5.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

import dedalus.public as d3
import numpy as np

LENGTHS = (1.0, 2.0)
OVERSAMPLING = 4
SMALLEST_STEP = 1e-9

CFL = {"initial_dt": 1e-5, "cadence": 10, "threshold": 0.1, "max_change": 1.5, "min_change": 0.5, "max_dt": 1}
"""How the authors of The Well's shear_flow let Dedalus choose its steps, with SBDF3 and a safety of 0.05."""


class ShearFlow:
    """Dedalus' fields and problem for one flow on one grid, at its initial state."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.grid: tuple[int, int] = tuple(options.grid)
        coordinates = d3.CartesianCoordinates("x", "y")
        self.dist = d3.Distributor(coordinates, dtype=np.float64)
        bounds = (0, LENGTHS[0]), (-LENGTHS[1] / 2, LENGTHS[1] / 2)
        self.bases = tuple(
            d3.RealFourier(coordinates[name], size=size, bounds=limits, dealias=3 / 2)
            for name, size, limits in zip("xy", self.grid, bounds, strict=True)
        )
        self.u = self.dist.VectorField(coordinates, name="u", bases=self.bases)
        self.s, self.p = (self.dist.Field(name=name, bases=self.bases) for name in "sp")
        self._set_initial(options)
        self.solver = self._problem(options).build_solver(getattr(d3, options.scheme))
        if options.safety:
            self.cfl = d3.CFL(self.solver, safety=options.safety, **CFL)
            self.cfl.add_velocity(self.u)

    def _set_initial(self, options: argparse.Namespace) -> None:
        x, y = self.dist.local_grids(*self.bases, scales=OVERSAMPLING)
        u, v = np.full(np.broadcast_shapes(x.shape, y.shape), 0.5), 0.0
        for k in range(options.n_shear):
            sign = 2 * (k % 2) - 1
            zeta = options.n_shear * (y - (-1 + (2 * k + 1) / options.n_shear)) / (2 * options.width)
            u = u + sign / 2 * np.tanh(10 * zeta)
            v = v + 0.1 * np.sin(sign * options.n_blobs * np.pi * x) * np.exp(-100 * zeta**2)
        for field, values in ((self.u, np.stack([u, v])), (self.s, u)):
            field.change_scales(OVERSAMPLING)
            field["g"] = values
            field.change_scales(1)
        phi = self._poisson(d3.div(self.u))
        self.u["c"] = (self.u - d3.grad(phi)).evaluate()["c"]

    def _problem(self, options: argparse.Namespace) -> Any:
        u, s, p, tau = self.u, self.s, self.p, self.dist.Field(name="tau")
        viscosity = 1 / options.reynolds
        diffusivity = viscosity / options.schmidt
        problem = d3.IVP([u, s, p, tau])
        problem.add_equation((d3.dt(u) + d3.grad(p) - viscosity * d3.lap(u), -u @ d3.grad(u)))
        problem.add_equation((d3.dt(s) - diffusivity * d3.lap(s), -u @ d3.grad(s)))
        problem.add_equation((d3.div(u) + tau, 0))
        problem.add_equation((d3.integ(p), 0))
        return problem

    def _poisson(self, source: Any) -> Any:
        """The field of mean zero whose Laplacian is ``source``."""
        phi, tau = self.dist.Field(name="phi", bases=self.bases), self.dist.Field(name="tau_phi")
        problem = d3.LBVP([phi, tau])
        problem.add_equation((d3.lap(phi) + tau, source))
        problem.add_equation((d3.integ(phi), 0))
        problem.build_solver().solve()
        return phi

    def step(self, options: argparse.Namespace) -> float:
        """The length of the next step."""
        if options.safety:
            return float(self.cfl.compute_timestep())
        return float(options.times[-1] / options.steps)

    def fields(self) -> np.ndarray:
        """Tracer, pressure, velocity_x, velocity_y now, ``(4, X, Y)``, on every process."""
        pressure = self._poisson(-d3.div(self.u @ d3.grad(self.u)))
        parts = []
        for field in (self.s, pressure, self.u):
            field.change_scales(1)
            parts.append(field.allgather_data("g").reshape(-1, *self.grid))
        return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--grid", type=int, nargs=2, default=[64, 128])
    parser.add_argument("--times", type=float, nargs="+", default=[2.0], help="the last one ends the run")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="equal steps up to the last time")
    length.add_argument("--safety", type=float, help="steps by this share of the Courant number instead")
    parser.add_argument("--scheme", default="RK443", help="a time stepper of Dedalus (default: RK443)")
    parser.add_argument("--reynolds", type=float, default=500)
    parser.add_argument("--schmidt", type=float, default=1)
    parser.add_argument("--n-shear", type=int, default=2)
    parser.add_argument("--n-blobs", type=int, default=2)
    parser.add_argument("--width", type=float, default=1)
    parser.add_argument("--out", type=Path, help="an .npz file: times (T), fields (T, 4, X, Y)")
    parser.add_argument("--every", type=int, default=1, help="one point in so many is written, each way")
    options = parser.parse_args()
    logging.disable(logging.INFO)

    flow = ShearFlow(options)
    states, durations = [flow.fields()] if 0 in options.times else [], []
    for until in (t for t in options.times if t > 0):
        while until - flow.solver.sim_time > SMALLEST_STEP:
            dt = min(flow.step(options), until - flow.solver.sim_time)
            start = time.perf_counter()
            flow.solver.step(dt)
            durations.append(time.perf_counter() - start)
        states.append(flow.fields())
    if flow.dist.comm.rank == 0:
        if options.out:
            thinned = np.stack(states)[..., :: options.every, :: options.every]
            np.savez_compressed(options.out, times=options.times, fields=thinned)
        # The first step also factorises the matrices: the others stand for it.
        stepping_s = sum(durations[1:]) * len(durations) / max(1, len(durations) - 1)
        figures = {"steps": len(durations), "stepping_s": stepping_s, "processes": flow.dist.comm.size}
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
