"""What measuring costs what is measured: a query in the measuring loop, and the same one in a bare loop.

First a call that does nothing, in both: the nanoseconds that a window spends on a call beside the call. Then
forecast steps, in rounds that take turns, as long as a window each: the ratio of the two times of a call is
the overhead, with Student's interval of its logarithm over the rounds. The goal is below 1 % at 64×128.

    python benchmarks/overhead.py --json results/overhead-cpu.json
    python benchmarks/overhead.py --device cuda --json results/overhead-gpu.json

About 80 seconds: two models, eight rounds of 2 x 2 s. Nothing else may use the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ptprof import stats
from ptprof.energy import EnergyMeter, MonotonicClock
from ptprof.environment import environment, threads
from ptprof.export.step import DeployableStep
from ptprof.profile.protocol import FULL
from ptprof.profile.timing import measure_window, warm_up
from ptprof.records import Statistics
from ptprof.runtimes import open_runner
from ptprof.runtimes.device import resolve_device
from ptprof.train.models import build
from ptprof.train.models.spectral import freeze

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
HISTORY = 4


def bare(call: Callable[[], None], calls: int) -> float:
    """Seconds of a call in a loop that does nothing else."""
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begun) / calls


def instrumentation(meter: EnergyMeter, clock: MonotonicClock, rounds: int) -> dict[str, float]:
    """Nanoseconds that a window takes for a call beside the call itself: the median over windows."""
    protocol = replace(FULL, window_s=0.1, window_ticks=0, settle_s=0.0, min_calls=1)
    costs = []
    for _ in range(rounds):
        window = measure_window(_nothing, protocol, meter, clock)
        costs.append((window.duration_s / window.calls - bare(_nothing, window.calls)) * 1e9)
    return {"nanoseconds_per_call": statistics.median(costs), "windows": rounds}


def overhead(call: Callable[[], None], meter: EnergyMeter, rounds: int, seconds: float) -> dict[str, Any]:
    """The two times of a call (s), and how much longer a measured one takes (relative)."""
    clock = MonotonicClock()
    protocol = replace(FULL, window_s=seconds, window_ticks=0, settle_s=0.0)
    calls = warm_up(call, seconds, clock)
    measured, alone = [], []
    for i in range(rounds):
        for which in ("measured", "bare") if i % 2 else ("bare", "measured"):
            if which == "bare":
                call()
                alone.append(bare(call, calls))
            else:
                window = measure_window(call, protocol, meter, clock)
                measured.append(window.duration_s / window.calls)
    ratio = stats.geometric_interval([a / b for a, b in zip(measured, alone, strict=True)])
    return {
        "bare_s": statistics.median(alone),
        "measured_s": statistics.median(measured),
        "overhead": {
            "value": ratio.value - 1,
            "low": None if ratio.low is None else ratio.low - 1,
            "high": None if ratio.high is None else ratio.high - 1,
        },
        "rounds": rounds,
    }


def step(model: str, grid: tuple[int, int], device: str) -> Callable[[], None]:
    """One forecast step of an untrained quick model, as the measuring loop calls it."""
    statistics_of_none = Statistics(fields=FIELDS, mean=(0.0,) * 4, std=(1.0,) * 4)
    module = DeployableStep(freeze(build(model, "quick"), grid), statistics_of_none, HISTORY, grid).eval()
    runner = open_runner("eager", module, device=device, threads=threads())
    query = runner.bind(torch.randn(1, HISTORY, len(FIELDS), *grid, device=runner.device))

    def call() -> None:
        query()
        runner.synchronize()

    return call


def _nothing() -> None:
    pass


def _grid(text: str) -> tuple[int, int]:
    x, y = text.split("x")
    return int(x), int(y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", help="several times; fno and unet unless given")
    parser.add_argument("--grid", type=_grid, default=(64, 128), help="64x128 unless given")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a loop in a round")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    gpus = [] if device == "cpu" else [torch.device(device).index or 0]
    if gpus:
        torch.cuda.get_device_properties(device)
    results: list[dict[str, Any]] = []
    with torch.inference_mode(), EnergyMeter(gpus) as meter:
        alone = instrumentation(meter, MonotonicClock(), 4 * arguments.rounds)
        print(f"a call of nothing: {alone['nanoseconds_per_call']:.0f} ns of measuring")
        for model in arguments.model or ["fno", "unet"]:
            found = overhead(step(model, arguments.grid, device), meter, arguments.rounds, arguments.seconds)
            share = alone["nanoseconds_per_call"] * 1e-9 / found["bare_s"]
            results.append({"model": model, **found, "instrumentation_share": share})
            spread = found["overhead"]
            print(
                f"{model} on {arguments.grid[0]}x{arguments.grid[1]}: {found['bare_s'] * 1e3:.3f} ms bare,"
                f" overhead {spread['value']:+.2%} ({spread['low']:+.2%} to {spread['high']:+.2%}),"
                f" instrumentation {share:.4%}"
            )
    if arguments.json:
        names = () if device == "cpu" else (torch.cuda.get_device_name(device),)
        document = {
            "environment": environment(names).model_dump(mode="json"),
            "device": device,
            "grid": arguments.grid,
            "threads": threads(),
            "instrumentation": alone,
            "steps": results,
        }
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
