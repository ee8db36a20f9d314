"""How often and how long to measure: the protocols."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ptprof import stats
from ptprof.errors import UsageError, unknown
from ptprof.profile.stopping import (
    SLACK,
    AllOf,
    Capped,
    Precision,
    StopRule,
    TimeCap,
    WindowCap,
    WindowCount,
)
from ptprof.records import Window

#: A rule that looks at every window and stops when the interval is short stops where the interval happens to
#: look short: Student's at 95 % then holds 92.9 % of the true means at worst, at 97 % it holds 95.4 % (60,000
#: series of normal windows each, 7 to 28 of them, at goals of 0.1 to 4 standard deviations of a window).
SEQUENTIAL_CONFIDENCE = 0.97


@dataclass(frozen=True)
class MeasuringProtocol:
    """How a session measures its candidates.

    Candidates take turns in rounds, in an order that is drawn anew for every round. `stop` ends the series
    of a candidate, which has converged if it then meets `goal`.

    Attributes
    ----------
    warm_up_s : how long a candidate runs before its first window in a process, s
    most_warm_up_s : how long, at most, until the boards' temperature stands still, s
    settle_s : how long it runs before each window, s; once at least, unless a call is longer than a window
    window_s, window_ticks : the shortest window, in s and in ticks of the slowest counter
    min_calls : calls in a window, unless one call alone is longer than a window
    gap_s : up to how long to wait between windows, a tick where that is longer, so that they fall on every
        phase of what is periodic, s
    windows, most_windows : the shortest and the longest series
    most_s : how long (s) the windows of a series may take together, a tenth more or less; the first one may
        take longer
    precision : relative half-width (95 %) of a throughput that has converged, and of the energy where that
        ends a series
    confidence : of each look at that half-width
    idle_s : the length of a window without work, s
    processes : how many worker processes the least series is spread over, one after the other
    strict : whether windows that were disturbed are made again, and power is sampled beside the counter
    """

    name: Literal["quick", "full", "paper"]
    warm_up_s: float
    window_s: float
    min_calls: int
    gap_s: float
    windows: int
    precision: float
    most_s: float
    most_windows: int
    idle_s: float
    most_warm_up_s: float = 0.0
    settle_s: float = 0.0
    window_ticks: int = 0
    confidence: float = stats.CONFIDENCE
    processes: int = 1
    strict: bool = False

    def stop(self, *, load: bool = False) -> StopRule:
        """The rule that ends the series of a candidate; under a ``load`` it does not set its own pace."""
        least = self.goal(load=load) if self.most_windows > self.windows else WindowCount(self.windows)
        return Capped(least, WindowCap(self.most_windows), TimeCap(self.most_s))

    def goal(self, *, load: bool = False) -> StopRule:
        """The rule that a series which has converged meets."""
        rules: list[StopRule] = [WindowCount(self.windows)]
        if not load:
            rules.append(Precision("throughput", calls_per_s, self.precision, self.confidence))
        if self.strict:
            rules.append(Precision("energy", joules_per_call, self.precision, self.confidence))
        return AllOf(*rules)

    def is_long_enough(self, calls: int, elapsed_s: float, tick_s: float = 0.0) -> bool:
        """Whether a window may end: at most ``min_calls`` windows' length, or one call.

        50 ticks hold more than 32 calls of whatever is shorter than a tick.
        """
        if elapsed_s < self.least_s(tick_s):
            return False
        return calls >= self.min_calls or elapsed_s / calls >= self.window_s

    def least_s(self, tick_s: float) -> float:
        """The length of the shortest window where the slowest counter moves every ``tick_s``, s."""
        return max(self.window_s, self.window_ticks * tick_s)

    def rounds(self, process: int) -> int | None:
        """How many rounds the ``process``-th process (from 0) makes; None where it is the last one."""
        if process + 1 >= self.processes:
            return None
        return -(-self.windows // self.processes)

    def bounded(self, seconds: float | None) -> MeasuringProtocol:
        """This protocol, with ``seconds`` for the windows of each series where that is given.

        Where they are too few for the least series, warm-ups go by time alone and one process does it all.

        Raises
        ------
        UsageError : no time at all
        """
        if seconds is None:
            return self
        if not seconds > 0:
            raise UsageError(f"the time to measure a candidate must be above 0 s, not {seconds:g} s")
        if seconds >= self.windows * self.window_s:
            return replace(self, most_s=seconds)
        brief_s = min(self.warm_up_s, self.most_warm_up_s)
        return replace(self, most_s=seconds, processes=1, most_warm_up_s=brief_s)

    def planned_s(self, candidates: int, window_s: float | None = None) -> float:
        """How long so many candidates take (s) where calls are shorter than windows; loading and idle windows
        come on top.

        ``window_s`` is the length of a window (s) where that is not the protocol's.
        """
        length_s = self.window_s if window_s is None else window_s
        windows = max(min(self.windows, int((1 + SLACK) * self.most_s / length_s)), 1)
        warm_ups_s = self.processes * self.warm_up_s
        return candidates * (warm_ups_s + windows * (self.settle_s + length_s + self.gap_s / 2))

    def most_planned_s(self, candidates: int) -> float:
        """How long they take at most (s), up to two calls of each; loading and idle windows come on top."""
        warm_ups_s = self.processes * max(self.warm_up_s, self.most_warm_up_s)
        between_s = self.most_windows * (self.settle_s + self.gap_s)
        return candidates * (warm_ups_s + between_s + (1 + SLACK) * self.most_s)


def calls_per_s(window: Window) -> float:
    """The rate of a window."""
    return window.calls / window.duration_s


def joules_per_call(window: Window) -> float | None:
    """The energy of a call, all components that a window has together."""
    joules = window.energy.joules
    return None if joules is None else joules / window.calls


QUICK = MeasuringProtocol(
    name="quick",
    warm_up_s=1.0,
    window_s=1.0,
    min_calls=3,
    gap_s=0.02,
    windows=5,
    most_windows=5,
    most_s=120.0,
    precision=0.10,
    idle_s=1.0,
)

FULL = MeasuringProtocol(
    name="full",
    warm_up_s=5.0,
    most_warm_up_s=60.0,
    settle_s=1.0,
    window_s=5.0,
    window_ticks=50,
    min_calls=3,
    gap_s=0.1,
    windows=7,
    most_windows=28,
    most_s=300.0,
    precision=0.02,
    confidence=SEQUENTIAL_CONFIDENCE,
    idle_s=10.0,
    processes=3,
    strict=True,
)

PAPER = replace(QUICK, name="paper", windows=3, most_windows=3)
"""Three passes through the whole test set, each a window: `ptprof.profile.paper_protocol`."""

PROTOCOLS = {"quick": QUICK, "full": FULL, "paper": PAPER}


def protocol_named(name: str) -> MeasuringProtocol:
    """The protocol called ``name``; UsageError for one that is not known."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def confidence_of(protocol: str) -> float:
    """The confidence of Student's interval that holds 95 % of the truths, as a protocol ends its series."""
    return PROTOCOLS[protocol].confidence
