"""Rules that end a series of windows, and rules that say whether it was good enough.

A rule has three verbs: it is initialized, takes windows one by one, and tells when it is finished. Rules are
put together: `AllOf` them, or one `Capped` by others.

Windows that do not count (`Window.counts`) are no progress towards a goal, but they are towards a cap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ptprof import stats
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
    def unmet(self) -> tuple[str, ...]:
        """What is lacking, in words; nothing where the rule is met."""


class WindowCount:
    """Met by a number of windows that count."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.initialize()

    def initialize(self) -> None:
        self._seen = self._disturbed = 0

    def add_measurement(self, window: Window) -> None:
        self._seen += window.counts
        self._disturbed += not window.counts

    def is_finished(self) -> bool:
        return self._seen >= self.count

    @property
    def unmet(self) -> tuple[str, ...]:
        if self.is_finished():
            return ()
        disturbed = f", and {self._disturbed} that were disturbed" if self._disturbed else ""
        return (f"{self._seen} of {self.count} windows{disturbed}",)


class Precision:
    """Met when the mean of something over the windows is known to within a share of itself.

    Where processes differ by more than their windows do, each process is one sample.

    Parameters
    ----------
    what : its name, in words
    sample : its figure of one window; None where the window has none. A rule that never sees one is met.
    relative : the largest half-width that will do, as a share of the mean
    confidence : of Student's interval
    """

    def __init__(
        self,
        what: str,
        sample: Callable[[Window], float | None],
        relative: float,
        confidence: float = stats.CONFIDENCE,
    ) -> None:
        self.what = what
        self.sample = sample
        self.relative = relative
        self.confidence = confidence
        self.initialize()

    def initialize(self) -> None:
        self._seen = 0
        self._samples: list[float] = []
        self._processes: list[int] = []

    def add_measurement(self, window: Window) -> None:
        if not window.counts:
            return
        self._seen += 1
        figure = self.sample(window)
        if figure is not None:
            self._samples.append(figure)
            self._processes.append(window.process)

    def is_finished(self) -> bool:
        if self._seen and not self._samples:
            return True
        half_width = self._half_width()
        return half_width is not None and half_width <= self.relative

    @property
    def unmet(self) -> tuple[str, ...]:
        if self.is_finished():
            return ()
        half_width = self._half_width()
        known = "not known" if half_width is None else f"known to ± {half_width:.1%}"
        return (f"{self.what} {known}, not to ± {self.relative:.0%}",)

    def _half_width(self) -> float | None:
        """Relative to the mean; None where it cannot be told."""
        if not self._samples:
            return None
        interval = stats.grouped_interval(self._samples, self._processes, self.confidence)
        if interval.high is None or not interval.value > 0:
            return None
        return (interval.high - interval.value) / interval.value


class WindowCap:
    """Met by a number of windows, whether they count or not."""

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
    def unmet(self) -> tuple[str, ...]:
        return () if self.is_finished() else (f"{self._seen} windows, and not {self.count}",)


#: Windows end on a tick and with a call: a series may take so much longer (relative) than it was given.
SLACK = 0.1


class TimeCap:
    """Met when another window like the last one would not fit into ``seconds`` for all of them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.initialize()

    def initialize(self) -> None:
        self._spent_s = self._last_s = 0.0

    def add_measurement(self, window: Window) -> None:
        self._last_s = window.duration_s
        self._spent_s += window.duration_s

    def is_finished(self) -> bool:
        return self._spent_s + self._last_s > (1 + SLACK) * self.seconds

    @property
    def unmet(self) -> tuple[str, ...]:
        return () if self.is_finished() else (f"{self._spent_s:.3g} s, and not {self.seconds:.3g} s",)


class AllOf:
    """Met when all of several rules are."""

    def __init__(self, *rules: StopRule) -> None:
        self.rules = rules

    def initialize(self) -> None:
        for rule in self.rules:
            rule.initialize()

    def add_measurement(self, window: Window) -> None:
        for rule in self.rules:
            rule.add_measurement(window)

    def is_finished(self) -> bool:
        return all(rule.is_finished() for rule in self.rules)

    @property
    def unmet(self) -> tuple[str, ...]:
        return tuple(words for rule in self.rules for words in rule.unmet)


class Capped:
    """A goal, given up when any of several caps is reached; ``unmet`` then says what the goal lacks."""

    def __init__(self, goal: StopRule, *caps: StopRule) -> None:
        self.goal = goal
        self.caps = caps

    def initialize(self) -> None:
        for rule in (self.goal, *self.caps):
            rule.initialize()

    def add_measurement(self, window: Window) -> None:
        for rule in (self.goal, *self.caps):
            rule.add_measurement(window)

    def is_finished(self) -> bool:
        return self.goal.is_finished() or any(cap.is_finished() for cap in self.caps)

    @property
    def unmet(self) -> tuple[str, ...]:
        return self.goal.unmet
