"""A virtual clock, and a counter that ticks over a power known for all time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from ptprof.errors import EnergyError
from ptprof.records import Component, Source


@dataclass
class VirtualClock:
    """Time that passes by sleeping only; ``late`` is how much longer (s) each sleep takes."""

    time_s: float = 1000.0
    late: Callable[[], float] = lambda: 0.0

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds + self.late()


@dataclass
class Counter:
    """Shows the integral ``taken`` (J, of s) as it was at the last tick, in whole mJ, times ``gain``.

    ``resets_at_s`` begins anew at zero; ``dies_at_s`` fails from then on; ``stops_at_s`` shows the same
    from then on.
    """

    clock: VirtualClock
    taken: Callable[[float], float]
    period_s: float = 0.1
    phase_s: float = 0.0
    gain: float = 1.0
    device_id: str = "GPU-0"
    systematic: float = 0.05
    resets_at_s: float = math.inf
    dies_at_s: float = math.inf
    stops_at_s: float = math.inf
    component: Component = "gpu"
    name: str = "counter"
    source: Source = "measured"
    ticks: bool = True
    reads: int = field(default=0)

    @property
    def gain_id(self) -> str:
        return self.device_id

    def read(self) -> float:
        self.reads += 1
        now = min(self.clock.now(), self.stops_at_s)
        if now >= self.dies_at_s:
            raise EnergyError(f"{self.device_id}: the GPU has fallen off the bus")
        tick_s = math.floor((now - self.phase_s) / self.period_s) * self.period_s + self.phase_s
        joules = self.taken(tick_s) - (self.taken(self.resets_at_s) if tick_s >= self.resets_at_s else 0.0)
        return math.floor(joules * self.gain * 1000) / 1000


def constant(watts: float) -> Callable[[float], float]:
    return lambda t: watts * t


def square(low_w: float, high_w: float, period_s: float, phase_s: float = 0.0) -> Callable[[float], float]:
    """Half of each period at ``high_w``, then half at ``low_w``."""

    def taken(t: float) -> float:
        cycles, within = divmod(t - phase_s, period_s)
        high_s = cycles * period_s / 2 + min(within, period_s / 2)
        return low_w * (t - phase_s) + (high_w - low_w) * high_s

    return taken


def ramp(start_w: float, watts_per_s: float, from_s: float) -> Callable[[float], float]:
    return lambda t: start_w * t + watts_per_s * max(t - from_s, 0.0) ** 2 / 2


def busy_then_idle(idle_w: float, busy_w: float, from_s: float, until_s: float) -> Callable[[float], float]:
    return lambda t: idle_w * t + (busy_w - idle_w) * (min(t, until_s) - min(t, from_s))


@dataclass(frozen=True)
class Kit:
    """What tests of sensors are made with."""

    Clock: type[VirtualClock] = VirtualClock
    Counter: type[Counter] = Counter
    constant: Callable[..., Callable[[float], float]] = constant
    square: Callable[..., Callable[[float], float]] = square
    ramp: Callable[..., Callable[[float], float]] = ramp
    busy_then_idle: Callable[..., Callable[[float], float]] = busy_then_idle


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
