"""How far ways of measuring a board's energy are off, on simulated boards whose energy is known exactly.

One window of queries begins out of idleness at a random moment, 100 times for each load and length:

- our window: the energy counter, both edges on its tick;
- the counter, read at whatever moment the window begins and ends;
- instant power, sampled every 20 ms (a new value every 100 ms, of the last 25 ms), integrated;
- Carbontracker's way: power once a second, each the mean of the second before, times the time.

No gain error here: it would be the same for all. Then whole sessions of the quick and the full protocol, gain
and noise included, 200 seeds each: how many intervals hold the truth, and how wide they are.

    python benchmarks/sensors.py --json results/sensors-simulated.json

Deterministic, in virtual time: about a minute, and as good on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "energy"))

import simulated_session as sessions
from simulated import Workplace, carbontracker_j, trailing_mean

from ptprof.energy import EnergyMeter
from ptprof.energy.combine import random_error
from ptprof.energy.trace import INTERVAL_S, integral
from ptprof.profile.protocol import FULL, QUICK, MeasuringProtocol
from ptprof.records import PowerSamples

TICK_S, OBSERVED_S = 0.1, 0.025
LENGTHS_S = (2.0, 5.0, 20.0)
LOADS = (
    sessions.steady(400.0, 0.02),
    *(sessions.square(period_s) for period_s in (0.04, 0.1, 0.13, 0.4, 1.0)),
    sessions.ramp(0.3),
    sessions.bursts(0.3),
)


def ways(load: sessions.Load, length_s: float, seed: int) -> dict[str, float]:
    """The relative error of each way in one window."""
    found = {}
    for name, observed_s in (("aligned", math.inf), ("aligned_part_time", OBSERVED_S)):
        scene = sessions.Scene(load, seed, observed_s=observed_s, systematic=0.0)
        scene.place.sleep(3.0 + scene.rng.random())
        with EnergyMeter(sensors=[scene.sensor], clock=scene.place) as meter, meter.window() as window:
            begun_s = scene.place.now()
            _work(scene, length_s, lambda: load.seconds > TICK_S / 4 or window.ticked())
            ended_s = scene.place.now()
        found[name] = window.gpu.joules / _taken(scene.place, begun_s, ended_s) - 1
    scene = sessions.Scene(load, seed, systematic=0.0)
    place = scene.place
    place.sleep(3.0 + scene.rng.random())
    begun_s, before_j = place.now(), scene.sensor.read()
    _work(scene, length_s * scene.rng.uniform(0.95, 1.05), lambda: True)
    ended_s, after_j = place.now(), scene.sensor.read()
    place.sleep(1.0)
    truth = _taken(place, begun_s, ended_s)
    samples = sampled(place, scene.sensor.phase_s, begun_s - 0.1, ended_s + 0.1)
    found["unaligned"] = (after_j - before_j) / truth - 1
    found["sampled"] = integral(samples, begun_s, ended_s) / truth - 1
    found["carbontracker"] = carbontracker_j(place.taken, begun_s, ended_s) / truth - 1
    return found


def sampled(place: Workplace, phase_s: float, begun_s: float, ended_s: float) -> PowerSamples:
    """Instant power as it is shown: of the end of the latest tick."""
    times = [begun_s + i * INTERVAL_S for i in range(math.ceil((ended_s - begun_s) / INTERVAL_S))]
    ticks = [math.floor((t - phase_s) / TICK_S) * TICK_S + phase_s for t in times]
    powers = [trailing_mean(place.taken, tick_s, OBSERVED_S) for tick_s in ticks]
    return PowerSamples(
        device_id="GPU-0",
        reading="instant power",
        interval_s=INTERVAL_S,
        time_s=tuple(times),
        power_w=tuple(powers),
    )


def errors(load: sessions.Load, length_s: float, repetitions: int) -> dict[str, Any]:
    """Mean and root mean square of each way's relative error."""
    series = [ways(load, length_s, seed) for seed in range(repetitions)]
    found: dict[str, Any] = {"load": load.name, "window_s": length_s}
    for way in series[0]:
        relative = [one[way] for one in series]
        found[way] = {
            "bias": statistics.fmean(relative),
            "rms": math.sqrt(statistics.fmean(e * e for e in relative)),
        }
    return found


def coverage(protocol: MeasuringProtocol, observed: float, seeds: int) -> dict[str, Any]:
    """Of so many sessions: how many intervals hold the truth, how wide they are, how many windows made."""
    inside, random_parts, windows, converged = 0, [], [], 0
    for scene in sessions.scenes(seeds, observed):
        measurement, _ = sessions.measure(scene, protocol)
        energy = measurement.energy_per_query.gpu
        assert energy is not None
        inside += energy.low <= scene.load.joules <= energy.high
        random_parts.append(random_error(energy) / energy.joules)
        windows.append(len(measurement.windows))
        converged += measurement.converged
    return {
        "protocol": protocol.name,
        "observed_share": observed,
        "seeds": seeds,
        "inside": inside,
        "random_half_width": statistics.fmean(random_parts),
        "windows": statistics.fmean(windows),
        "converged": converged,
    }


def _work(scene: sessions.Scene, seconds: float, may_end: Callable[[], bool]) -> None:
    """Queries for at least so long."""
    begun_s = scene.place.now()
    while True:
        scene.call(1.0)
        if scene.place.now() - begun_s >= seconds and may_end():
            return


def _taken(place: Workplace, begun_s: float, ended_s: float) -> float:
    return place.taken(ended_s) - place.taken(begun_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [errors(load, 5.0, arguments.repetitions) for load in LOADS]
    rows += [errors(LOADS[0], length_s, arguments.repetitions) for length_s in LENGTHS_S if length_s != 5.0]
    names = ("aligned", "aligned_part_time", "unaligned", "sampled", "carbontracker")
    print(f"{'load':>16} {'window':>6}  " + "  ".join(f"{name:>17}" for name in names))
    for row in rows:
        cells = (f"{row[name]['bias']:+8.2%} {row[name]['rms']:8.2%}" for name in names)
        print(f"{row['load']:>16} {row['window_s']:>4.0f} s  " + "  ".join(cells))
    sessions_of = [coverage(p, share, arguments.seeds) for p in (QUICK, FULL) for share in (1.0, 0.25)]
    for one in sessions_of:
        print(one)
    if arguments.json is not None:
        text = json.dumps({"tick_s": TICK_S, "windows": rows, "sessions": sessions_of}, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
