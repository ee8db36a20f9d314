"""What is asked of a fleet, and what `ptprof fleet` answers; dumped, it is the document of ``--json``."""

from __future__ import annotations

import math
import re
from typing import Literal

from ptprof.amortise.assumptions import Assumptions
from ptprof.amortise.queueing import Dispatch
from ptprof.errors import UsageError
from ptprof.records import Component, Interval, Source, Value

PEAK_TO_MEAN = 2.0
PERCENTILE = 99.0
MOST_PER_DAY, MOST_PEAK = 1e15, 1e3
_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


class Demand(Value):
    """Queries in a day, and how soon they are to be answered.

    ``peak_to_mean`` is what arrives at the busiest time over the mean: the fleet is made for the former.
    ``percentile`` per cent of queries are to take no longer than ``bound_s``, the wait included. ``dispatch``
    says how queries are dealt out to the workers. ``spares`` are workers beyond those needed.
    """

    queries_per_day: float
    bound_s: float
    peak_to_mean: float = PEAK_TO_MEAN
    percentile: float = PERCENTILE
    dispatch: Dispatch = "round-robin"
    spares: int = 0
    trainings_per_year: float = 1.0

    @classmethod
    def of(
        cls,
        queries_per_day: str,
        latency: str,
        *,
        peak_to_mean: float = PEAK_TO_MEAN,
        percentile: float = PERCENTILE,
        dispatch: Dispatch = "round-robin",
        spares: int = 0,
        trainings_per_year: float = 1.0,
    ) -> Demand:
        """As a user states it: ``1e9`` queries, ``50ms``; UsageError for what cannot be."""
        per_day = _number(queries_per_day)
        if not 1 <= per_day <= MOST_PER_DAY:
            raise UsageError(
                f"queries per day are a number from 1 to 1e15, such as 1e9, not {queries_per_day!r}"
            )
        if not 1 <= peak_to_mean <= MOST_PEAK:
            raise UsageError(
                f"the peak is at least the mean: --peak-to-mean from 1 to {MOST_PEAK:g}, not {peak_to_mean:g}"
            )
        if not 50 <= percentile <= 99.9:
            raise UsageError(f"a percentile of latency is from 50 to 99.9, not {percentile:g}")
        if spares < 0 or not 0 <= trainings_per_year <= 1e6:
            raise UsageError("spare workers and trainings per year are 0 or more")
        return cls(
            queries_per_day=per_day,
            bound_s=parse_duration(latency),
            peak_to_mean=peak_to_mean,
            percentile=percentile,
            dispatch=dispatch,
            spares=spares,
            trainings_per_year=trainings_per_year,
        )

    @property
    def mean_per_s(self) -> float:
        return self.queries_per_day / 86_400

    @property
    def peak_per_s(self) -> float:
        return self.mean_per_s * self.peak_to_mean


def parse_duration(text: str) -> float:
    """A time (s) as a user writes it: ``50ms``, ``0.05s``, ``200us``, ``0.05``.

    Raises
    ------
    UsageError : anything else, or not above zero
    """
    match = re.fullmatch(r"\s*([^a-zµ]*(?:e-?\d+)?)\s*(s|ms|us|µs|)\s*", text)
    value = _number(match[1]) * _UNITS[match[2]] if match is not None else math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"a latency is a time such as 50ms or 0.05s, not {text!r}")
    return value


class Devices(Value):
    """How many workers, and what they do.

    ``serving`` meet the bound; ``low`` and ``high`` are the same at the ends of the time of a call. ``least``
    could keep up at the peak with no bound on latency: nothing that deals out queries does with fewer.
    ``utilisation`` is the share of the year that a serving worker is busy, ``latency_s`` the percentile of
    latency at the peak, ``filling_s`` what of it a batch waits to be full.
    """

    serving: int
    low: int | None
    high: int | None
    spares: int
    least: int
    utilisation: float
    peak_utilisation: float
    latency_s: float | None
    filling_s: float

    @property
    def owned(self) -> int:
        return self.serving + self.spares


class TooSlow(Value):
    """What cannot meet the bound, and the least that it could."""

    model: str
    runtime: str
    batch: int
    least_s: float


class Fleet(Value):
    """A year of one model on one runtime at one batch size.

    ``queries_kwh`` and ``idle_kwh`` are of the machines, without the site's overhead, and add up to ``kwh``;
    components in ``idle_missing`` have no idle power and count as none. Grams hold intensity and PUE.
    """

    model: str
    run: str
    runtime: str
    batch: int
    threads: int | None
    service_s: Interval
    devices: Devices
    queries_kwh: Interval
    idle_kwh: Interval
    kwh: Interval
    idle_missing: tuple[Component, ...]
    serving_g: Interval
    embodied_g: Interval
    training_g: Interval
    total_g: Interval
    source: Literal["projected"] = "projected"
    projected_from: Source

    @property
    def name(self) -> str:
        batch = "" if self.batch == 1 else f" at batch {self.batch}"
        return f"{self.model} on {self.runtime}{batch}"


class Best(Value):
    """The fleet of the least total, and who cannot be told from it."""

    model: str
    runtime: str
    batch: int
    tied_with: tuple[str, ...]


class FleetReport(Value):
    """Every fleet that meets the demand, by rising total, and what was assumed."""

    demand: Demand
    unit: str
    device: str
    device_id: str
    components: tuple[Component, ...]
    intensity_g_per_kwh: float
    pue: float
    fleets: tuple[Fleet, ...]
    too_slow: tuple[TooSlow, ...]
    cheapest: Best
    assumptions: Assumptions
    notes: tuple[str, ...]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
