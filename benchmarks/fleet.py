"""What `ptprof fleet` projects for one and for two workers, against one and two that really answer.

    python benchmarks/fleet.py STUDY --json results/fleet-cpu.json

A worker is a process of one thread on a core of its own. One alone answers call after call: its times of
service and its joules are all that the projection gets. Then one and two workers answer queries that arrive
at random, dealt out in turn, at 50 and at 80 % of the capacity that was projected; and call after call, for
the capacity that there is. Rounds of all of these follow each other, so that what drifts drifts for all.
About three and a half minutes, on a quiet machine of two cores or more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean
from typing import Any

from ptprof.runtimes.threads import spin_briefly

LOADS = (0.5, 0.8)
SHARE = 0.99
LEAD_S = 0.05


@dataclass(frozen=True)
class Answered:
    """What one worker did in a window: seconds of each call, under a load from its intended send; joules."""

    seconds: tuple[float, ...]
    busy_s: float
    duration_s: float
    joules: float


def worker(connection: Connection, core: int, study: Path, name: str, runtime: str) -> None:
    """In a process of its own: hold the model, and answer when told."""
    os.sched_setaffinity(0, {core})
    import torch

    from ptprof.energy import EnergyMeter, MonotonicClock
    from ptprof.export.artifact import open_model
    from ptprof.profile.bench import query_states
    from ptprof.profile.load import serve
    from ptprof.study import Study

    torch.set_num_threads(1)
    records = Study(study)
    run = records.named(name)
    clock = MonotonicClock()
    with torch.inference_mode(), EnergyMeter(()) as meter:
        runner = open_model(records, run, runtime, device="cpu", threads=1)
        query = runner.bind(query_states(records, run, 1), None)

        def call() -> None:
            query()
            runner.synchronize()

        for _ in range(100):
            call()
        connection.send(None)
        while (asked := connection.recv()) is not None:
            due, duration_s, begin_s = asked
            clock.sleep(max(begin_s - clock.now(), 0.0))
            begun = clock.now()
            with meter.window() as window:
                if due is None:
                    seconds = tuple(_one_after_the_other(call, duration_s, clock.now))
                    busy_s = sum(seconds)
                else:
                    served = serve(call, due, duration_s, clock)
                    seconds, busy_s = served.responses_s, served.busy_s
                    clock.sleep(max(begun + duration_s - clock.now(), 0.0))
            joules = window.breakdown().joules
            assert joules is not None
            connection.send(Answered(seconds, busy_s, clock.now() - begun, joules))


def _one_after_the_other(
    call: Callable[[], None], duration_s: float, now: Callable[[], float]
) -> Iterator[float]:
    ended = begun = now()
    while ended - begun < duration_s:
        call()
        before, ended = ended, now()
        yield ended - before


@contextlib.contextmanager
def workers(cores: Sequence[int], *settings: Any) -> Iterator[list[Connection]]:
    """A ready worker on each core."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in cores]
    processes = [
        context.Process(target=worker, args=(theirs, core, *settings), daemon=True)
        for core, (_, theirs) in zip(cores, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for _, theirs in pipes:
        theirs.close()
    ours = [mine for mine, _ in pipes]
    for one in ours:
        one.recv()
    yield ours
    for one in ours:
        one.send(None)
    for process in processes:
        process.join(10)


def ask(
    connections: Sequence[Connection], seconds: float, due: Sequence[float] | None = None
) -> list[Answered]:
    """One window of all workers at once; with ``due``, these arrivals dealt out in turn."""
    count, begin_s = len(connections), time.monotonic() + LEAD_S
    for number, one in enumerate(connections):
        one.send((None if due is None else due[number::count], seconds, begin_s))
    return [one.recv() for one in connections]


def compared(projected: Sequence[float], measured: Sequence[float]) -> dict[str, Any]:
    """A projection and its ends, what was measured in each window, and their ratio with its interval.

    None stands for what has no end: the latency of a queue that grows for ever.
    """
    from ptprof import stats

    value, low, high = projected
    found = stats.t_interval(measured)
    ratio: dict[str, float | None] = dict.fromkeys(("value", "low", "high"))
    if math.isfinite(value):
        ratio["value"] = middle = found.value / value
        if found.high is not None and math.isfinite(high):
            of_projection = (high - low) / 2 / value
            half = middle * stats.quadrature(((found.high - found.value) / found.value, of_projection))
            ratio |= {"low": middle - half, "high": middle + half}
    ends = {"value": value, "low": low, "high": high}
    return {
        "projected": {name: end if math.isfinite(end) else None for name, end in ends.items()},
        "measured": found.model_dump(),
        "ratio": ratio,
    }


def figures(connections: Sequence[Connection], rounds: int, seconds: float) -> dict[str, Any]:
    """The rounds, then what was projected beside what was measured."""
    from ptprof import stats
    from ptprof.amortise.queueing import Queues, Service
    from ptprof.profile.load import arrivals

    groups = {1: connections[:1], 2: connections}
    before = ask(groups[1], seconds)[0]
    capacity = len(before.seconds) / before.duration_s
    alone = [before]
    together: dict[int, list[list[Answered]]] = {1: [], 2: []}
    loaded: dict[tuple[int, float], list[list[Answered]]] = {}
    for number in range(rounds):
        alone += ask(groups[1], seconds / 4)
        together[2].append(ask(groups[2], seconds / 4))
        for count, group in groups.items():
            for load in LOADS:
                due = arrivals(load * count * capacity, seconds, seed=number)
                loaded.setdefault((count, load), []).append(ask(group, seconds, due))
    together[1] = [[one] for one in alone]
    service = Service(tuple(time for one in alone for time in one.seconds))
    of_service = stats.t_interval([fmean(one.seconds) for one in alone])
    of_joules = stats.t_interval([one.joules / len(one.seconds) for one in alone])
    assert None not in (of_service.low, of_service.high, of_joules.low, of_joules.high)
    ends = [end / of_service.value for end in (of_service.value, of_service.low, of_service.high)]
    return {
        "service_s": of_service.model_dump(),
        "joules_per_query": of_joules.model_dump(),
        "capacity_used_per_s": capacity,
        "calls_timed_alone": len(service.times_s),
        "fleets": [
            {
                "workers": count,
                "throughput_per_s": compared(
                    [count / of_service.value, count / of_service.high, count / of_service.low],
                    [sum(len(one.seconds) / one.duration_s for one in window) for window in together[count]],
                ),
                "at_load": [
                    {
                        "load": load,
                        "rate_per_s": load * count * capacity,
                        "utilisation": compared(
                            [load * count * capacity * of_service.value * end / count for end in ends],
                            [fmean(one.busy_s / one.duration_s for one in window) for window in windows],
                        ),
                        "p99_s": compared(
                            [
                                Queues(service.scaled(end)).quantile(SHARE, count, load * count * capacity)
                                for end in ends
                            ],
                            [_quantile([s for one in window for s in one.seconds]) for window in windows],
                        ),
                        "joules_per_query": compared(
                            [of_joules.value, of_joules.low, of_joules.high],
                            [sum(o.joules for o in w) / sum(len(o.seconds) for o in w) for w in windows],
                        ),
                        "calls": sum(len(one.seconds) for window in windows for one in window),
                    }
                    for load in LOADS
                    for windows in [loaded[count, load]]
                ],
            }
            for count in groups
        ],
    }


def _quantile(seconds: Sequence[float]) -> float:
    from ptprof.amortise.queueing import Service

    return Service(tuple(seconds)).quantile(SHARE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="a study with exported models")
    parser.add_argument("--run", help="a run by name; the newest fno otherwise")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a window of load")
    parser.add_argument("--json", type=Path, help="file to write instead of stdout")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    spin_briefly(os.environ)
    from ptprof.environment import environment
    from ptprof.study import Study, write_text

    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("two workers need two cores")
    name = given.run or Study(given.study).newest(["fno"])["fno"].run
    with workers(cores, given.study, name, given.runtime) as connections:
        found = figures(connections, given.rounds, given.seconds)
    document = {
        "run": name,
        "runtime": given.runtime,
        "threads": 1,
        "rounds": given.rounds,
        "seconds": given.seconds,
        "dispatch": "round-robin",
        "percentile": 100 * SHARE,
        **found,
        "environment": environment().model_dump(mode="json"),
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    if given.json is None:
        sys.stdout.write(text)
    else:
        write_text(given.json, text)


if __name__ == "__main__":
    main()
