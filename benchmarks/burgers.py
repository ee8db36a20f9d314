"""One evaluation of a PINN's loss and gradient: derivatives carried forward against autograd applied twice.

Same weights and points, in one process on one thread, in turns; a ratio is the median over the rounds of
the ratio within a round. The ratio of CPU seconds is the one that carbon is modelled from.

    python benchmarks/burgers.py --json results/burgers-derivatives-cpu.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptprof.environment import environment
from ptprof.train.burgers.derivatives import derivatives, seeds
from ptprof.train.burgers.network import Network
from ptprof.train.burgers.reference import VISCOSITY

EVALUATIONS = 10
"""In one timing, so that the clock's own grain does not show."""


def by_autograd(network: Network, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u, u_x, u_t, u_xx as PINNs are mostly written: the gradient, and the gradient of a part of it."""
    at = points.clone().requires_grad_()
    u = network(at)
    (first,) = torch.autograd.grad(u.sum(), at, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), at, create_graph=True)
    return u[:, 0], first[:, 0], first[:, 1], second[:, 0]


def evaluation(network: Network, jet: Callable[[], tuple[Tensor, ...]]) -> Callable[[], list[Tensor]]:
    """The gradient of the mean square residual by the weights."""
    parameters = list(network.parameters())

    def evaluate() -> list[Tensor]:
        u, u_x, u_t, u_xx = jet()
        residual = u_t + u * u_x - VISCOSITY * u_xx
        return list(torch.autograd.grad((residual**2).mean(), parameters))

    return evaluate


def compare(
    twice: Callable[[], list[Tensor]], carried: Callable[[], list[Tensor]], rounds: int
) -> dict[str, float]:
    """Wall and CPU seconds of one evaluation by each and their ratios, in turns after one warm-up each."""

    def seconds(run: Callable[[], list[Tensor]]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(EVALUATIONS):
            run()
        return (time.perf_counter() - wall) / EVALUATIONS, (time.process_time() - cpu) / EVALUATIONS

    seconds(twice), seconds(carried)
    pairs = [(seconds(twice), seconds(carried)) for _ in range(rounds)]
    result = {}
    for index, clock in enumerate(("wall", "cpu")):
        theirs, ours = ([pair[side][index] for pair in pairs] for side in (0, 1))
        result[f"autograd_{clock}_s"] = statistics.median(theirs)
        result[f"carried_{clock}_s"] = statistics.median(ours)
        result[f"{clock}_ratio"] = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
    return result


def measure(count: int, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Both ways on ``count`` points, and how far their gradients are apart."""
    network = Network(seed=0).to(dtype)
    points = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)).to(dtype) * 2 - 1
    inputs = seeds(points)
    twice = evaluation(network, lambda: by_autograd(network, points))
    carried = evaluation(network, lambda: derivatives(network, inputs))
    apart = max(
        float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))
        for a, b in zip(carried(), twice(), strict=True)
    )
    return {
        "points": count,
        "dtype": str(dtype).removeprefix("torch."),
        "relative_difference": apart,
        **compare(twice, carried, rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, action="append", help="default: 1000, 2000 and 5000")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)

    results = []
    print(f"{'points':>7}{'dtype':>9}{'autograd':>12}{'carried':>12}{'ratio':>8}{'of CPU':>8}")
    for dtype in (torch.float32, torch.float64):
        for count in options.points or (1000, 2000, 5000):
            r = measure(count, dtype, options.rounds)
            results.append(r)
            print(
                f"{count:7}{r['dtype']:>9}{r['autograd_wall_s'] * 1e3:9.2f} ms"
                f"{r['carried_wall_s'] * 1e3:9.2f} ms{r['wall_ratio']:8.2f}{r['cpu_ratio']:8.2f}",
                flush=True,
            )
    if options.json:
        document = {
            "what": "gradient of a Burgers residual: autograd twice against derivatives carried forward",
            "threads": 1,
            "rounds": options.rounds,
            "results": results,
            "environment": environment().model_dump(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
