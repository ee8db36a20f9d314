"""One sensor over one window: what it counted between the window's edges, and how well that is known.

NVML's energy counter moves in steps, about every 100 ms on current boards (10 to 20 ms on older ones), and
is known at its ticks only. A window therefore opens right after a tick. Where it ends, the energy up to the
last tick inside is known; that of the rest, up to the end, lies between zero and what the counter shows at
the next tick. The rest is taken at the window's mean power within those bounds, and the interval reaches to
both of them: it holds whatever the power did.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass

from ptprof.energy import combine
from ptprof.energy.clock import Clock
from ptprof.energy.sensor import Sensor
from ptprof.errors import EnergyError
from ptprof.records import Energy

#: Between two looks at a counter (s): a tenth of a per cent of a window of a second.
LOOK_EVERY_S = 0.0005
#: A counter that has not moved for so long (s) stands still.
STANDSTILL_S = 2.0
#: Steps whose median is taken for the tick.
STEPS = 4
#: A tick that was seen to within this share of the period needs no waiting for the next one.
WELL_SEEN = 0.25


@dataclass(frozen=True)
class Tick:
    """The count moved between ``after_s`` and ``at_s`` (s), to ``joules``."""

    after_s: float
    at_s: float
    joules: float


class Watch:
    """Looks at a sensor again and again, and knows its latest tick."""

    def __init__(self, sensor: Sensor, clock: Clock) -> None:
        self.sensor = sensor
        self._clock = clock
        self.count = sensor.read()
        self.looked_s = self._moved_s = clock.now()
        self.tick: Tick | None = None

    def look(self) -> bool:
        """Read the count; whether it has moved since the last look.

        Raises
        ------
        EnergyError : it cannot be read, has gone backwards, or stands still
        """
        joules, now = self.sensor.read(), self._clock.now()
        if joules < self.count:
            raise EnergyError(backwards(self.sensor, self.count, joules))
        moved = joules > self.count
        if moved:
            self.tick = Tick(self.looked_s, now, joules)
            self._moved_s = now
        elif now - self._moved_s > STANDSTILL_S:
            what = f"the {self.sensor.name} of {self.sensor.device_id}"
            raise EnergyError(f"{what} stood still for {now - self._moved_s:.1f} s")
        self.count, self.looked_s = joules, now
        return moved


def tick_period(sensor: Sensor, clock: Clock) -> float:
    """The time between a sensor's steps (s): the median of several, watched for.

    Raises
    ------
    EnergyError : it cannot be read, goes backwards, or stands still
    """
    watch = Watch(sensor, clock)
    moved: list[float] = []
    while len(moved) <= STEPS:
        clock.sleep(LOOK_EVERY_S)
        if watch.look():
            moved.append(watch.looked_s)
    return statistics.median(after - before for before, after in itertools.pairwise(moved))


class SteppedGauge:
    """A sensor that ticks every ``period_s``, over one window."""

    def __init__(self, sensor: Sensor, period_s: float, clock: Clock) -> None:
        self.sensor = sensor
        self._period_s = period_s
        self._clock = clock
        self._watch = Watch(sensor, clock)
        self._begun_s = self._ended_s = 0.0
        self._start = self._last = Tick(0.0, 0.0, 0.0)

    @property
    def aligned(self) -> bool:
        """Whether a tick has been seen, so that the window may begin."""
        return self._watch.tick is not None

    def look(self) -> bool:
        """Whether a tick has just been seen well; raises EnergyError as `Watch.look` does."""
        return self._watch.look() and self._well_seen(self._watch.tick)

    def begin(self, now: float) -> None:
        """The window begins; the latest tick is its first edge."""
        if self._watch.tick is None:
            raise EnergyError("a window begins after a tick of its counter")
        self._begun_s, self._start = now, self._watch.tick

    def end(self, now: float) -> None:
        """The window ends; `settled` tells when its last edge is known."""
        self._ended_s = now
        self._watch.look()
        if self._watch.count == self._start.joules:
            raise EnergyError(
                f"the window of {now - self._begun_s:.3g} s is shorter than a tick of the {self.sensor.name}"
                f" ({self._period_s:.3g} s)"
            )
        self._last = self._watch.tick or self._start

    def so_far(self) -> Energy:
        """What the window has taken up to now, known to within a tick; may be asked from another thread."""
        joules = _counted(self.sensor, self._start.joules)
        elapsed_s = max(self._clock.now() - self._begun_s, self._period_s)
        return _energy(self.sensor, joules, joules * self._period_s / elapsed_s)

    @property
    def settled(self) -> bool:
        """Whether the last tick inside the window, or the first one after it, is known well enough."""
        return self._watch.tick is not self._last or self._well_seen(self._last)

    def energy(self) -> Energy:
        """What the window took, once it is `settled`."""
        counted = self._last.joules - self._start.joules
        following = self._watch.tick
        if following is None or following is self._last:
            tick_s = (self._last.after_s + self._last.at_s) / 2
            rest_at_most = math.inf
        else:
            # The last tick inside lies one period before the first one outside.
            latest = min(self._last.at_s, self._ended_s)
            tick_s = min(max(following.at_s - self._period_s, self._start.at_s), latest)
            rest_at_most = following.joules - self._last.joules
        power_w = counted / max(tick_s - self._start.at_s, self._period_s / 2)
        rest = min(power_w * max(self._ended_s - tick_s, 0.0), rest_at_most)
        rest_error = rest if math.isinf(rest_at_most) else max(rest, rest_at_most - rest)
        # Between the first tick and the beginning the board took something that is not the window's.
        start_error = power_w * (self._begun_s - self._start.after_s)
        return _energy(self.sensor, counted + rest, math.hypot(rest_error, start_error))

    def _well_seen(self, tick: Tick | None) -> bool:
        return tick is not None and tick.at_s - tick.after_s <= WELL_SEEN * self._period_s


class SmoothGauge:
    """A sensor whose count moves all the time, over one window."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self._begun_s = self._start = self._counted = 0.0

    def begin(self, now: float) -> None:
        """The window begins."""
        self._begun_s, self._start = now, self.sensor.read()

    def end(self, now: float) -> None:
        """The window ends; raises EnergyError where the count has not grown."""
        count = self.sensor.read()
        if count < self._start:
            raise EnergyError(backwards(self.sensor, self._start, count))
        if count == self._start:
            raise EnergyError(f"{self.sensor.name}: nothing was counted in {now - self._begun_s:.3g} s")
        self._counted = count - self._start

    def so_far(self) -> Energy:
        """What the window has taken up to now; may be asked from another thread."""
        return _energy(self.sensor, _counted(self.sensor, self._start), 0.0)

    def energy(self) -> Energy:
        """What the window took."""
        return _energy(self.sensor, self._counted, 0.0)


def backwards(sensor: Sensor, before: float, after: float) -> str:
    """What to say of a count that has become smaller."""
    return (
        f"the {sensor.name} of {sensor.device_id} went backwards, from {before:g} J to {after:g} J: "
        "the driver was loaded anew, or the counter was reset"
    )


def _counted(sensor: Sensor, start: float) -> float:
    """What a sensor has counted since it showed ``start``; EnergyError where that is less than nothing."""
    count = sensor.read()
    if count < start:
        raise EnergyError(backwards(sensor, start, count))
    return count - start


def _energy(sensor: Sensor, joules: float, random: float) -> Energy:
    return combine.energy(
        joules,
        random,
        systematic=sensor.systematic,
        gain_id=sensor.gain_id,
        source=sensor.source,
        sensor=sensor.name,
    )
