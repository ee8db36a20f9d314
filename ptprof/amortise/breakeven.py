"""Where two models cost the same, which is the cheapest, and where it changes.

Where models are trained anew every K queries, break-even points and the envelope take the trainings as
``max(1, N / K)``: the staircase of the totals up to K and wherever a training has served its K queries, and a
line between those points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from ptprof.amortise.lifetime import (
    NOTHING,
    Cost,
    Difference,
    Errors,
    Lifetime,
    Part,
    add,
    difference,
)
from ptprof.records import Interval
from ptprof.stats import FiellerSet, fieller

__all__ = [
    "BreakEven",
    "Cost",
    "Difference",
    "Errors",
    "Lifetime",
    "Part",
    "Verdict",
    "break_even",
    "cheapest",
    "difference",
    "envelope",
    "lower_envelope",
    "pairs",
    "parity",
]

Verdict = Literal["crosses", "a always cheaper", "b always cheaper", "not resolved"]

Range = tuple[float, float]


@dataclass(frozen=True)
class BreakEven:
    """Where two models cost the same.

    ``queries`` and ``a_cheaper_below`` (else b is cheaper below it) are the point value, None
    unless the lines cross at a positive count. ``low`` and ``high`` bound the counts at which the two
    cannot be told apart, None for no bound on that side or no interval.
    """

    queries: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    a_cheaper_below: bool | None


@dataclass(frozen=True)
class _Line:
    """A difference ``start + N · slope`` for N from ``low`` to ``high``, and its errors of the same form."""

    low: float
    high: float
    start: float
    slope: float
    errors: tuple[tuple[float, float], ...]

    @property
    def crossing(self) -> float | None:
        """Where it is zero; None unless that is above ``low`` and not above ``high``."""
        if self.slope == 0:
            return None
        queries = -self.start / self.slope
        return queries if self.low < queries <= self.high and queries < math.inf else None

    def unresolved(self) -> list[Range]:
        """The counts from ``low`` to ``high`` at which zero is within the interval."""
        found = fieller(
            -self.start,
            self.slope,
            math.fsum(first**2 for first, _ in self.errors),
            math.fsum(second**2 for _, second in self.errors),
            -math.fsum(first * second for first, second in self.errors),
        )
        clipped = ((max(low, self.low), min(high, self.high)) for low, high in _ranges(found))
        return [(low, high) for low, high in clipped if low <= high and high > 0]


def break_even(a: Lifetime, b: Lifetime) -> BreakEven:
    """Where a and b cost the same, and what can be said of it; the verdict is judged by the interval.

    ``crosses``: below some count one is surely cheaper, above it surely the other. ``a always cheaper``:
    at every count a is surely cheaper. ``not resolved``: at arbitrarily small or large counts the
    interval of the difference includes zero. Of several crossings, which retraining can make, it is the
    first.
    """
    gap = difference(a, b)
    lines = _lines(gap)
    crossing = next((point for line in lines if (point := line.crossing) is not None), None)
    low, high, verdict = _judge(lines)
    if gap.errors is None:
        low = high = None
    if verdict == "crosses" and crossing is not None and low is not None and high is not None:
        low, high = min(low, crossing), max(high, crossing)  # rounding
    below = _sign_from_zero(lines[0]) < 0
    return BreakEven(crossing, low, high, verdict, None if crossing is None else below)


def parity(life: Lifetime) -> Interval | None:
    """The number of queries that cost as much as all that is paid before the first one.

    ``low`` and ``high`` are None where there is no interval, or no bound on that side; the whole is None
    where nothing is paid before the first query, or nothing with a query.
    """
    nothing = Cost((), None if life.per_query.random is None else 0.0)
    found = break_even(Lifetime(add([life.once, life.training]), nothing), Lifetime(NOTHING, life.per_query))
    if found.queries is None:
        return None
    return Interval(value=found.queries, low=found.low, high=found.high)


def pairs(count: int) -> Iterator[tuple[int, int]]:
    """Every unordered pair of ``count`` models, in their order."""
    return combinations(range(count), 2)


def cheapest(models: Sequence[Lifetime], queries: float) -> tuple[int, tuple[int, ...]]:
    """Which model has the smallest total at ``queries``, and which others cannot be told from it."""
    best = min(range(len(models)), key=lambda i: models[i].total(queries).value)
    tied = (
        i for i, model in enumerate(models) if i != best and difference(model, models[best]).tied(queries)
    )
    return best, tuple(tied)


def envelope(models: Sequence[Lifetime]) -> list[tuple[float, int]]:
    """The cheapest model by point values as the number of queries grows from 0: from where, and which.

    All models are trained anew after the same number of queries.
    """
    every = models[0].retrain_every
    first = lower_envelope([(m.first_g, m.per_query.grams) for m in models])
    if every is None:
        return first
    spread = [(m.once.grams, m.training.grams / every + m.per_query.grams) for m in models]
    later = lower_envelope(spread)
    pieces = [piece for piece in first if piece[0] < every]
    begun = max(i for i, (start, _) in enumerate(later) if start <= every)
    for start, model in later[begun:]:
        if model != pieces[-1][1]:
            pieces.append((max(start, every), model))
    return pieces


def lower_envelope(models: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    """The cheapest of straight lines as the number of queries grows from 0.

    ``models`` are pairs of grams before the first query and per query. Returns pairs of the count from
    which, and the model which; the first count is 0.
    """
    current = min(range(len(models)), key=lambda i: models[i])
    pieces = [(0.0, current)]
    while True:
        training, query = models[current]
        overtaking = [
            ((c - training) / (query - q), q, i)
            for i, (c, q) in enumerate(models)
            if q < query and c >= training
        ]
        if not overtaking:
            return pieces
        start, _, current = min(overtaking)
        pieces.append((max(start, pieces[-1][0]), current))


def _lines(gap: Difference) -> list[_Line]:
    """The difference over all counts, the trainings taken as ``max(1, N / K)``."""
    every = gap.retrain_every
    first = _Line(
        0.0,
        math.inf if every is None else every,
        gap.once + gap.training,
        gap.per_query,
        tuple((e.once + e.training, e.per_query) for e in gap.errors or ()),
    )
    if every is None:
        return [first]
    later = _Line(
        every,
        math.inf,
        gap.once,
        gap.training / every + gap.per_query,
        tuple((e.once, e.training / every + e.per_query) for e in gap.errors or ()),
    )
    return [first, later]


def _ranges(found: FiellerSet) -> list[Range]:
    low = -math.inf if found.low is None else found.low
    high = math.inf if found.high is None else found.high
    return {
        "none": [],
        "all": [(-math.inf, math.inf)],
        "between": [(low, high)],
        "outside": [(-math.inf, low), (high, math.inf)],
    }[found.kind]


def _judge(lines: Sequence[_Line]) -> tuple[float | None, float | None, Verdict]:
    """Bounds and verdict from the counts above zero at which the two cannot be told apart."""
    tied = [counts for line in lines for counts in line.unresolved()]
    below = _sign_from_zero(lines[0])
    if not tied:
        return None, None, "a always cheaper" if below < 0 else "b always cheaper"
    low = tied[0][0] if tied[0][0] > 0 else None
    high = tied[-1][1] if tied[-1][1] < math.inf else None
    if low is None or high is None:
        return low, high, "not resolved"
    swapped = below * _sign_at_infinity(lines[-1]) < 0
    return low, high, "crosses" if swapped else "not resolved"


def _sign_from_zero(line: _Line) -> float:
    return math.copysign(1.0, line.start or line.slope)


def _sign_at_infinity(line: _Line) -> float:
    return math.copysign(1.0, line.slope or line.start)
