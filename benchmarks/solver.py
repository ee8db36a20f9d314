"""ptprof's flow solver against Dedalus 3: seconds per simulated second, same flow, grid and cores, two ways.

equal: both in equal steps, the largest whose error, and that of steps an eighth shorter, is within the
tolerance. The error is the largest relative L2 distance of a field from a run on a grid twice as fine.

as run: ours as it generates data, in steps that its error estimate chooses; Dedalus as the authors of The
Well's shear_flow ran it, SBDF3 with a Courant number of 0.05. Both are within the tolerance too.

Dedalus takes the best of its schemes with one or two MPI processes, ours the better of one or two threads;
setting up is not counted, and Dedalus' first step, in which it factorises its matrices, as any other. All
take turns; the fastest of the rounds counts.

    python benchmarks/solver.py --dedalus-python DEDALUS/bin/python --json results/solver.json

DEDALUS is an environment with Dedalus, see benchmarks/dedalus_shear_flow.py.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ptprof.environment import environment
from ptprof.runtimes.allocator import keep_memory
from ptprof.train.data.shear_flow import LENGTHS, OVERSAMPLING, Flow
from ptprof.train.data.solver import NavierStokes
from ptprof.train.data.spectral import Basis

FLOW = Flow(reynolds=500, schmidt=1, n_shear=2, n_blobs=2, width=1)
SCRIPT = Path(__file__).with_name("dedalus_shear_flow.py")
GROWTH = 9 / 8
FIRST_STEPS, LAST_STEPS = 4, 1000
"""Steps per simulated second between which the search runs."""

SAFETY = 0.05
"""The Courant number of The Well's authors."""

Fields = NDArray[np.float64]


class Ran(NamedTuple):
    """One run: the fields ``(4, X, Y)`` at its end, its steps, and the seconds that they took."""

    fields: Fields
    steps: int
    seconds: float


def our_solver(grid: tuple[int, int]) -> NavierStokes:
    """Our solver at the flow's initial state."""
    velocity, tracer = FLOW.initial((OVERSAMPLING * grid[0], OVERSAMPLING * grid[1]))
    viscosity = torch.tensor([1 / FLOW.reynolds], dtype=torch.float64)
    return NavierStokes(
        Basis(grid, LENGTHS),
        velocity[None],
        tracer[None],
        viscosity=viscosity,
        diffusivity=viscosity / FLOW.schmidt,
    )


def reference(grid: tuple[int, int], until: float) -> Fields:
    """The fields at ``until`` from twice the grid, on the points of ``grid``."""
    fine = our_solver((2 * grid[0], 2 * grid[1]))
    fine.advance(until)
    fields: Fields = fine.fields()[0, :, ::2, ::2].numpy()
    return fields


def ours(grid: tuple[int, int], until: float, steps: int | None = None, threads: int = 1) -> Ran:
    """Our run in equal ``steps``, or in those that it chooses."""
    torch.set_num_threads(threads)
    flow = our_solver(grid)
    start = time.perf_counter()
    if steps is None:
        flow.advance(until)
    else:
        for _ in range(steps):
            flow.step(until / steps)
    duration = time.perf_counter() - start
    return Ran(flow.fields()[0].numpy(), flow.steps, duration)


def dedalus(options: argparse.Namespace, scheme: str, steps: int | None = None, processes: int = 1) -> Ran:
    """Dedalus' run in equal ``steps``, or in those that The Well's authors' settings choose."""
    mpi = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(processes)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "flow.npz"
        command = [*(mpi if processes > 1 else []), str(options.dedalus_python), "-W", "ignore", str(SCRIPT)]
        command += ["--grid", *map(str, options.grid), "--times", str(options.until), "--scheme", scheme]
        command += ["--steps", str(steps)] if steps else ["--safety", str(SAFETY)]
        command += ["--reynolds", str(FLOW.reynolds), "--schmidt", str(FLOW.schmidt)]
        command += ["--n-shear", str(FLOW.n_shear), "--n-blobs", str(FLOW.n_blobs)]
        command += ["--width", str(FLOW.width), "--out", str(out)]
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if ran.returncode:
            sys.exit(f"Dedalus failed:\n{ran.stderr[-2000:]}")
        figures = json.loads(ran.stdout.splitlines()[-1])
        with np.load(out) as arrays:
            return Ran(arrays["fields"][-1], figures["steps"], figures["stepping_s"])


def error(fields: Fields, exact: Fields) -> float:
    """The largest relative L2 distance of a field; infinite where it is not finite."""
    with np.errstate(all="ignore"):
        distance = np.linalg.norm(fields - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))
    return float(np.nan_to_num(distance, nan=np.inf).max())


def counts(until: float) -> Iterator[int]:
    """Numbers of steps to try, each an eighth more than the one before."""
    steps = FIRST_STEPS * until
    while steps <= LAST_STEPS * until:
        yield round(steps)
        steps = max(steps * GROWTH, steps + 1)


def fewest(run: Callable[[int], Ran], exact: Fields, options: argparse.Namespace) -> int:
    """The fewest steps within the tolerance that stay so when shortened."""
    before: int | None = None
    for steps in counts(options.until):
        if error(run(steps).fields, exact) > options.tolerance:
            before = None
        elif before is not None:
            return before
        else:
            before = steps
    sys.exit("no step within the tolerance was found")


def ways(exact: Fields, options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], Callable[[], Ran]]]:
    """What is timed, each described and ready to run."""
    grid = tuple(options.grid)
    equal = fewest(lambda n: ours(grid, options.until, n), exact, options)
    for how, steps in (("equal", equal), ("as run", None)):
        for threads in options.parallel:
            row = {"how": how, "solver": "ptprof", "scheme": "IF-RK4", "cores": threads}
            yield row, partial(ours, grid, options.until, steps, threads)
    if not options.dedalus_python:
        return
    schemes = [(s, fewest(partial(dedalus, options, s), exact, options)) for s in options.scheme]
    for scheme, steps in [*schemes, ("SBDF3", None)]:
        for processes in options.parallel:
            if processes > 1 and not shutil.which("mpirun"):
                print("no mpirun here: Dedalus is run with one process only")
                continue
            row = {"how": "equal" if steps else "as run", "solver": "dedalus", "scheme": scheme}
            yield row | {"cores": processes}, partial(dedalus, options, scheme, steps, processes)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every way to run either: its steps, its error and its best time."""
    exact = reference(tuple(options.grid), options.until)
    described, runs = zip(*ways(exact, options), strict=True)
    rounds = [[run() for run in runs] for _ in range(options.rounds)]
    return [
        row
        | {
            "steps": ran[0].steps,
            "error": error(ran[0].fields, exact),
            "s_per_simulated_s": min(r.seconds for r in ran) / options.until,
        }
        for row, ran in zip(described, zip(*rounds, strict=True), strict=True)
    ]


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as long the best of Dedalus takes as the best of ours, by how they are run."""
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        key = row["how"], row["solver"]
        best[key] = min(best.get(key, math.inf), row["s_per_simulated_s"])
    found = {how for how, solver in best if solver == "dedalus"}
    return {how: best[how, "dedalus"] / best[how, "ptprof"] for how in sorted(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dedalus-python", type=Path, help="the interpreter of an environment with Dedalus")
    parser.add_argument("--scheme", action="append", help="of Dedalus; default RK443 and RK222")
    parser.add_argument("--grid", type=int, nargs=2, default=[64, 128])
    parser.add_argument("--until", type=float, default=2.0, help="simulated seconds")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 2], help="threads, or processes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    options.scheme = options.scheme or ["RK443", "RK222"]
    if options.dedalus_python is None or not options.dedalus_python.exists():
        print("no Dedalus (--dedalus-python): only ptprof's own figures")
        options.dedalus_python = None
    keep_memory()

    rows = measure(options)
    for row in rows:
        print(
            f"{row['how']:8}{row['solver']:8}{row['scheme']:>8}{row['cores']:3} cores{row['steps']:6} steps"
            f"{row['error']:10.1e}{row['s_per_simulated_s'] * 1e3:10.1f} ms per simulated second"
        )
    for how, ratio in ratios(rows).items():
        print(f"{how}: the best of Dedalus takes {ratio:.1f} times as long as the best of ptprof")
    if options.json:
        document = {
            "what": "ptprof's solver against Dedalus 3, one flow",
            "flow": str(FLOW),
            "grid": options.grid,
            "until": options.until,
            "tolerance": options.tolerance,
            "rounds": options.rounds,
            "results": rows,
            "ratios": ratios(rows),
            "environment": environment().model_dump(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
