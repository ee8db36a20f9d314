"""Simulated sensors: a virtual clock, powers that are known for all time, and what a board shows of them."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ptprof.energy import BoardState
from ptprof.errors import EnergyError
from ptprof.records import BoardFacts, Component, Source

#: Joules that were taken up to a time (s).
Taken = Callable[[float], float]


@dataclass
class VirtualClock:
    """Time that passes by sleeping only; ``late`` is how much longer (s) each sleep takes."""

    time_s: float = 1000.0
    late: Callable[[], float] = lambda: 0.0

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds + self.late()


class Workplace:
    """A clock whose time passes by sleeping, at the power ``idle_w(t)``, or by `work`, and what it all took.

    ``taken`` is exact: the integral of the power from the beginning to any time that has passed.
    """

    def __init__(
        self,
        idle_w: Callable[[float], float] | float = 60.0,
        time_s: float = 1000.0,
        late: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._idle_w = idle_w if callable(idle_w) else lambda t: idle_w
        self._late = late
        self._times, self._joules, self._watts = [time_s], [0.0], [0.0]

    def now(self) -> float:
        return self._times[-1]

    def sleep(self, seconds: float) -> None:
        self.work(seconds + self._late(), self._idle_w(self.now()))

    def work(self, seconds: float, watts: float) -> None:
        """Let so long pass at so many watts."""
        if watts == self._watts[-1] and len(self._times) > 1:
            self._joules[-1] += seconds * watts
            self._times[-1] += seconds
            return
        self._times.append(self._times[-1] + seconds)
        self._joules.append(self._joules[-1] + seconds * watts)
        self._watts.append(watts)

    def taken(self, t: float) -> float:
        after = bisect_right(self._times, t)
        if after == len(self._times):
            return self._joules[-1]
        if after == 0:
            return 0.0
        return self._joules[after] - (self._times[after] - t) * self._watts[after]


@dataclass
class SimulatedSensor:
    """A board's energy counter over the joules ``taken``, in whole mJ, times ``gain``.

    It shows a new value every ``period_s``. Of each tick only the last ``observed_s`` are seen, and stand for
    all of it; each tick errs by ``noise`` (standard deviation, relative) of its own.
    ``resets_at_s`` begins anew at zero; ``dies_at_s`` fails from then on; ``stops_at_s`` shows the same from
    then on. ``throttles_from_s``, ``celsius`` and ``pids`` are what the board tells of its state.
    """

    clock: VirtualClock | Workplace
    taken: Taken
    period_s: float = 0.1
    phase_s: float = 0.0
    gain: float = 1.0
    device_id: str = "GPU-0"
    systematic: float = 0.05
    observed_s: float = math.inf
    noise: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    resets_at_s: float = math.inf
    dies_at_s: float = math.inf
    stops_at_s: float = math.inf
    throttles_from_s: float = math.inf
    celsius: Callable[[float], float] = lambda t: 50.0
    pids: Sequence[int] = ()
    component: Component = "gpu"
    name: str = "counter"
    source: Source = "measured"
    ticks: bool = True
    reads: int = field(default=0)

    def __post_init__(self) -> None:
        self._tick = self._tick_at(self.clock.now())
        self._shown_j = 1e5

    @property
    def gain_id(self) -> str:
        return self.device_id

    def read(self) -> float:
        self.reads += 1
        now = min(self.clock.now(), self.stops_at_s)
        if now >= self.dies_at_s:
            raise EnergyError(f"{self.device_id}: the GPU has fallen off the bus")
        return math.floor(self._counted(self._tick_at(now)) * self.gain * 1000) / 1000

    def state(self) -> BoardState:
        now = self.clock.now()
        throttled = now >= self.throttles_from_s
        return BoardState(
            temperature_c=self.celsius(now),
            sm_clock_hz=1.2e9 if throttled else 1.8e9,
            throttle_reasons=("hardware thermal slowdown",) if throttled else (),
            processes=tuple(self.pids),
        )

    def facts(self) -> BoardFacts:
        return BoardFacts(uuid=self.device_id, name="simulated", power_limit_w=700.0)

    def _tick_at(self, t: float) -> int:
        return math.floor((t - self.phase_s) / self.period_s)

    def _time_of(self, tick: int) -> float:
        return tick * self.period_s + self.phase_s

    def _counted(self, tick: int) -> float:
        at = self._time_of(tick)
        if self.observed_s >= self.period_s and not self.noise:
            return self.taken(at) - (self.taken(self.resets_at_s) if at >= self.resets_at_s else 0.0)
        for one in range(self._tick + 1, tick + 1):
            self._shown_j += self._seen(self._time_of(one))
        self._tick = max(tick, self._tick)
        return self._shown_j

    def _seen(self, until_s: float) -> float:
        """What the counter adds at a tick."""
        observed_s = min(self.observed_s, self.period_s)
        joules = (self.taken(until_s) - self.taken(until_s - observed_s)) * self.period_s / observed_s
        return max(joules * self.rng.gauss(1.0, self.noise), 0.0) if self.noise else joules


def constant(watts: float) -> Taken:
    return lambda t: watts * t


def square(low_w: float, high_w: float, period_s: float, phase_s: float = 0.0) -> Taken:
    """Half of each period at ``high_w``, then half at ``low_w``."""

    def taken(t: float) -> float:
        cycles, within = divmod(t - phase_s, period_s)
        high_s = cycles * period_s / 2 + min(within, period_s / 2)
        return low_w * (t - phase_s) + (high_w - low_w) * high_s

    return taken


def ramp(start_w: float, watts_per_s: float, from_s: float) -> Taken:
    return lambda t: start_w * t + watts_per_s * max(t - from_s, 0.0) ** 2 / 2


def busy_then_idle(idle_w: float, busy_w: float, from_s: float, until_s: float) -> Taken:
    return lambda t: idle_w * t + (busy_w - idle_w) * (min(t, until_s) - min(t, from_s))


def trailing_mean(taken: Taken, t: float, seconds: float = 1.0) -> float:
    """The mean power (W) of the time before ``t``: what NVML's power is on current boards."""
    return (taken(t) - taken(t - seconds)) / seconds


def carbontracker_j(taken: Taken, begun_s: float, ended_s: float, gain: float = 1.0) -> float:
    """What a second's mean, taken every second from the beginning on, times the time, makes of a window."""
    count = math.floor(ended_s - begun_s) + 1
    samples = [trailing_mean(taken, begun_s + i) for i in range(count)]
    return gain * sum(samples) / count * (ended_s - begun_s)
