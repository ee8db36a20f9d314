"""How often and how long to measure: protocols, and the rules that end a measurement.

A rule has three verbs: it is initialized, takes windows one by one, and tells when it is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ptprof import stats
from ptprof.errors import unknown
from ptprof.records import Window


class StopRule(Protocol):
    """When a series of windows is long enough, or good enough."""

    def initialize(self) -> None:
        """Forget what was seen."""

    def add_measurement(self, window: Window) -> None:
        """Take the next window of the series."""

    def is_finished(self) -> bool:
        """Whether the rule is met."""

    @property
    def unmet(self) -> str | None:
        """What is lacking, in words; None where the rule is met."""


class WindowCount:
    """Met by a number of windows."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.initialize()

    def initialize(self) -> None:
        self._seen = 0

    def add_measurement(self, window: Window) -> None:
        self._seen += 1

    def is_finished(self) -> bool:
        return self._seen >= self.count

    @property
    def unmet(self) -> str | None:
        return None if self.is_finished() else f"{self._seen} of {self.count} windows"


class Precision:
    """Met when the mean throughput is known to within a share of itself, at 95 %."""

    def __init__(self, relative: float) -> None:
        self.relative = relative
        self.initialize()

    def initialize(self) -> None:
        self._calls_per_s: list[float] = []

    def add_measurement(self, window: Window) -> None:
        self._calls_per_s.append(window.calls / window.duration_s)

    def is_finished(self) -> bool:
        half_width = self._half_width()
        return half_width is not None and half_width <= self.relative

    @property
    def unmet(self) -> str | None:
        if self.is_finished():
            return None
        half_width = self._half_width()
        known = "not known" if half_width is None else f"known to ± {half_width:.0%}"
        return f"throughput {known}, not to ± {self.relative:.0%}"

    def _half_width(self) -> float | None:
        if not self._calls_per_s:
            return None
        interval = stats.t_interval(self._calls_per_s)
        return None if interval.high is None else (interval.high - interval.value) / interval.value


@dataclass(frozen=True)
class MeasuringProtocol:
    """How a session measures its candidates.

    Candidates take turns in rounds, in an order that is drawn anew for every round. ``stop`` ends the
    series of a candidate, which has converged if ``goal`` is met then.

    Attributes
    ----------
    warm_up_s : how long a candidate runs before its first window, s
    window_s : the shortest window, s
    min_calls : calls in a window, unless one call alone is longer than a window
    gap_s : up to how long to wait between windows, so that they fall on every phase of what is periodic, s
    windows : the length of a series
    precision : relative half-width (95 %) of a throughput that has converged
    """

    name: Literal["quick", "full"]
    warm_up_s: float
    window_s: float
    min_calls: int
    gap_s: float
    windows: int
    precision: float

    def stop(self) -> StopRule:
        """The rule that ends the series of a candidate."""
        return WindowCount(self.windows)

    def goal(self) -> StopRule:
        """The rule that a series which has converged meets."""
        return Precision(self.precision)

    def is_long_enough(self, calls: int, elapsed_s: float) -> bool:
        """Whether a window may end: at most ``min_calls`` windows' length, or one call."""
        if elapsed_s < self.window_s:
            return False
        return calls >= self.min_calls or elapsed_s / calls >= self.window_s

    def planned_s(self, candidates: int) -> float:
        """How long so many candidates take (s) where calls are shorter than windows; loading comes on top."""
        return candidates * (self.warm_up_s + self.windows * (self.window_s + self.gap_s / 2))


QUICK = MeasuringProtocol(
    name="quick",
    warm_up_s=1.0,
    window_s=1.0,
    min_calls=3,
    gap_s=0.02,
    windows=5,
    precision=0.10,
)

PROTOCOLS = {"quick": QUICK}


def protocol_named(name: str) -> MeasuringProtocol:
    """The protocol called ``name``; UsageError for one that is not known."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
