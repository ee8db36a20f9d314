"""Whole sessions of measuring over simulated boards: the real session, protocol, meter and summary."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from simulated import SimulatedSensor, Workplace

from ptprof.energy import EnergyMeter
from ptprof.profile.bench import Info, Prepared
from ptprof.profile.protocol import FULL, MeasuringProtocol
from ptprof.profile.scenarios import scenario
from ptprof.profile.session import Session
from ptprof.profile.summary import Subject
from ptprof.profile.timing import measure_idle, measure_window, warm_up_until_steady
from ptprof.records import Environment, Idle, Measurement, Window

IDLE_W = 90.0
MACHINE = Environment(platform="simulated", python="3", cpu="none", cpu_cores=1, memory_bytes=1)
ONE_STEP = scenario("one-step", batch=1, steps=1)

#: Parts of a query: seconds and watts, one after the other.
Parts = list[tuple[float, float]]


@dataclass(frozen=True)
class Load:
    """What a query takes: its ``parts``, each time longer or shorter by ``jitter`` (relative), and in each
    window more or less by ``drift`` (relative); both are standard deviations."""

    name: str
    parts: Parts
    jitter: float = 0.02
    drift: float = 0.005

    @property
    def seconds(self) -> float:
        return sum(seconds for seconds, _ in self.parts)

    @property
    def joules(self) -> float:
        return sum(seconds * watts for seconds, watts in self.parts)


def steady(watts: float, seconds: float) -> Load:
    return Load(f"constant {watts:.0f} W", [(seconds, watts)])


def square(period_s: float, low_w: float = 100.0, high_w: float = 600.0) -> Load:
    """Busy for the first half of each query."""
    return Load(f"square {period_s * 1000:.0f} ms", [(period_s / 2, high_w), (period_s / 2, low_w)])


def ramp(seconds: float, low_w: float = 100.0, high_w: float = 600.0, steps: int = 10) -> Load:
    watts = [low_w + (high_w - low_w) * (i + 0.5) / steps for i in range(steps)]
    return Load(f"ramp {seconds * 1000:.0f} ms", [(seconds / steps, w) for w in watts])


def bursts(seconds: float, low_w: float = 120.0, high_w: float = 650.0) -> Load:
    """Three short bursts in each query."""
    parts = [(0.06, high_w), (0.31, low_w), (0.04, high_w), (0.19, low_w), (0.1, high_w), (0.3, low_w)]
    return Load(f"bursts {seconds * 1000:.0f} ms", [(share * seconds, watts) for share, watts in parts])


@dataclass
class Scene:
    """A load on a board, and how its counter sees it; ``seed`` draws its gain, phase and noise."""

    load: Load
    seed: int
    tick_s: float = 0.1
    observed_s: float = math.inf
    noise: float = 0.0
    idle_w: Callable[[float], float] | float = IDLE_W
    board: dict[str, Any] = field(default_factory=dict)
    systematic: float = 0.05
    start_s: float | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        drawn_s = self.rng.uniform(0, 1000)
        self.place = Workplace(
            self.idle_w,
            drawn_s if self.start_s is None else self.start_s,
            late=lambda: self.rng.expovariate(1 / 0.0001),
        )
        self.sensor = SimulatedSensor(
            self.place,
            self.place.taken,
            period_s=self.tick_s,
            phase_s=self.rng.uniform(0, self.tick_s),
            gain=self.rng.gauss(1.0, self.systematic / 1.96),
            systematic=self.systematic,
            observed_s=self.observed_s,
            noise=self.noise,
            rng=self.rng,
            **self.board,
        )

    def call(self, window_factor: float) -> None:
        factor = max(self.rng.gauss(1.0, self.load.jitter), 0.1)
        for seconds, watts in self.load.parts:
            self.place.work(seconds * factor, watts * window_factor)


class SimulatedBench:
    """A bench in virtual time. ``spans`` are the windows' begin and end, for what they really took."""

    def __init__(self, scene: Scene, meter: EnergyMeter) -> None:
        self.scene, self.meter = scene, meter
        self.info = Info(
            device_id="GPU-0",
            environment=MACHINE,
            measures_idle=meter.sees_idle,
            tick_s=meter.tick_s,
            metered_gpus=meter.boards,
        )
        self.spans: list[tuple[float, float]] = []

    def prepare(self, run: Any, scenario: Any) -> Prepared:
        return Prepared("simulated", 1, 1)

    def warm_up(self, run: Any, scenario: Any, protocol: MeasuringProtocol) -> int:
        return warm_up_until_steady(lambda: self.scene.call(1.0), protocol, self.meter, self.scene.place)

    def window(self, run: Any, scenario: Any, protocol: MeasuringProtocol, number: int) -> Window:
        factor = self.scene.rng.gauss(1.0, self.scene.load.drift)
        window = measure_window(
            lambda: self.scene.call(factor),
            protocol,
            self.meter,
            self.scene.place,
            cpu_use=lambda: None,
        )
        self.spans.append((window.start_s, window.start_s + window.duration_s))
        return window

    def idle(self, seconds: float) -> Idle:
        return measure_idle(seconds, self.meter, self.scene.place)


def measure(scene: Scene, protocol: MeasuringProtocol) -> tuple[Measurement, list[tuple[float, float]]]:
    """Measure a scene by the real session: the measurement, and when each of its windows began and ended."""
    found: list[Measurement] = []
    spans: list[tuple[float, float]] = []
    candidate: Any = SimpleNamespace(run="r", model="m")
    session = Session(
        [Subject(candidate, "eager", "cuda:0", ONE_STEP, "0")],
        protocol,
        emit=lambda subject, measurement: found.append(measurement),
        rng=random.Random(scene.seed),
        sleep=scene.place.sleep,
    )
    while session.waiting:
        with ExitStack() as stack:
            meter = stack.enter_context(EnergyMeter(sensors=[scene.sensor], clock=scene.place))
            bench = SimulatedBench(scene, meter)
            session.run(bench)
            spans += bench.spans
    if session.failures:
        raise RuntimeError(session.failures[0][1])
    return found[0], spans


def window_noise(scene: Scene, windows: int = 40) -> float:
    """How much (standard deviation, relative) windows of the full protocol scatter for such a scene."""
    again = replace(scene, seed=scene.seed + 10**6)
    many = replace(FULL, windows=windows, most_windows=windows, most_s=math.inf, processes=1)
    series, _ = measure(again, many)
    joules = [w.energy.gpu.joules / w.calls for w in series.windows if w.energy.gpu is not None]
    return statistics.stdev(joules) / statistics.fmean(joules)


def scenes(count: int, observed: float = 1.0) -> Iterator[Scene]:
    """Scenes drawn by their seeds: any load, tick, phase, gain and noise.

    ``observed`` is the share of a tick that is seen.
    """
    for seed in range(count):
        rng = random.Random(seed)
        seconds = math.exp(rng.uniform(math.log(0.04), math.log(1.0)))
        short_s = math.exp(rng.uniform(math.log(0.002), math.log(0.5)))
        load = rng.choice(
            [steady(rng.uniform(150, 650), short_s), square(seconds), ramp(seconds), bursts(seconds)]
        )
        tick_s, noise = rng.choice([0.02, 0.1, 0.1]), rng.choice([0.0, 0.01, 0.03])
        yield Scene(load, seed, tick_s=tick_s, noise=noise, observed_s=observed * tick_s)
