"""Whether a measurement comes out the same when it is made again: every pair within their intervals.

The models of a study are measured several times over; nothing is written into it. Two figures agree where
they differ by no more than their half-widths in quadrature. The gain of a sensor, or of the CPU's model, is
the same in both and cancels: of energies, the random error alone is taken. Right intervals agree in 95 % of
all pairs.

    python benchmarks/repeatability.py study --json results/repeatability-cpu.json
    python benchmarks/repeatability.py study --protocol full --model fno --repeats 2
        --json results/repeatability-full-cpu.json

About 70 seconds for two models four times by the quick protocol, 2.5 minutes for one twice by the full one.
Nothing else may use the machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ptprof.energy.combine import random_error
from ptprof.profile import profile
from ptprof.progress import progress_bar
from ptprof.records import Interval, Measurement
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study


def figures(m: Measurement) -> Iterator[tuple[str, float, float]]:
    """Name, value and half-width of every figure of a measurement that has an interval."""
    intervals: dict[str, Interval] = {"throughput_per_s": m.throughput_per_s, "latency_s": m.latency_s}
    for name, interval in intervals.items():
        if interval.low is not None and interval.high is not None:
            yield name, interval.value, (interval.high - interval.low) / 2
    for component, energy in m.energy_per_query.present.items():
        yield f"{component}_j", energy.joules, random_error(energy)


def agreement(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Each figure of several measurements of one thing: its values, and which pairs agree."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for m in measurements:
        for name, value, half_width in figures(m):
            series[name].append((value, half_width))
    found = []
    for name, values in series.items():
        pairs = list(itertools.combinations(values, 2))
        apart = [abs(a - b) / math.hypot(wa, wb) if wa or wb else math.inf for (a, wa), (b, wb) in pairs]
        mean = sum(value for value, _ in values) / len(values)
        found.append(
            {
                "figure": name,
                "values": [value for value, _ in values],
                "half_widths": [half_width for _, half_width in values],
                "spread": (max(v for v, _ in values) - min(v for v, _ in values)) / mean,
                "pairs": len(pairs),
                "agree": sum(share <= 1 for share in apart),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, help="with trained and exported models")
    parser.add_argument("--model", action="append", help="several times; fno and unet unless given")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--protocol", default="quick")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    by_model: dict[str, list[Measurement]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, progress_bar() as bar:
        for part in ("data", "runs", "artifacts"):
            (Path(folder) / part).symlink_to((arguments.study / part).resolve())
        for _ in range(arguments.repeats):
            for m in profile(
                Study(folder),
                arguments.model or ["fno", "unet"],
                runtimes=[arguments.runtime],
                scenarios=["one-step"],
                device=resolve_device(arguments.device),
                protocol=arguments.protocol,
                force=True,
                progress=bar,
            ):
                by_model[m.model].append(m)
    results = {model: agreement(measured) for model, measured in by_model.items()}
    for model, found in results.items():
        for one in found:
            values = ", ".join(f"{value:.4g}" for value in one["values"])
            print(f"{model} {one['figure']}: {values}; {one['agree']} of {one['pairs']} pairs agree")
    if arguments.json:
        first = next(iter(by_model.values()))[0]
        document = {
            "environment": first.environment.model_dump(mode="json"),
            "runtime": arguments.runtime,
            "protocol": arguments.protocol,
            "threads": first.threads,
            "unmet": {model: [m.unmet for m in measured] for model, measured in by_model.items()},
            "models": results,
        }
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
