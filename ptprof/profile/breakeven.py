"""The maths of amortisation: cost as a line over the number of queries, and where two lines cross.

``total(N) = training + N · per query``. What is uncertain in a total is a set of independent errors, each
itself a line in N: the random error of training, that of a query, and one error per gain (a board's, a
counter's, a CPU model's) that scales everything measured with it alike. An interval takes the errors in
quadrature. In a difference between two models the errors of one gain are subtracted first, so that what
the two share cancels. docs/amortisation.md derives it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from ptprof.records import Interval
from ptprof.stats import FiellerSet, fieller, quadrature

Verdict = Literal["crosses", "a always cheaper", "b always cheaper", "not resolved"]


@dataclass(frozen=True)
class Part:
    """A share of a cost, and the gain error that scales it: relative half-width, and shared with what."""

    grams: float
    systematic: float = 0.0
    gain_id: str = ""


@dataclass(frozen=True)
class Cost:
    """Grams CO2eq; ``random`` is the half-width of the random error, None where no interval is known."""

    parts: tuple[Part, ...]
    random: float | None = None

    @property
    def grams(self) -> float:
        return math.fsum(part.grams for part in self.parts)

    @property
    def gains(self) -> dict[str, float]:
        """The half-width (g) that each gain brings; parts of one gain err together."""
        errors: dict[str, float] = {}
        for part in self.parts:
            if part.systematic:
                errors[part.gain_id] = errors.get(part.gain_id, 0.0) + part.systematic * part.grams
        return errors

    def interval(self) -> Interval:
        """The cost with random and systematic error together; a cost is never below zero."""
        if self.random is None:
            return Interval(value=self.grams)
        return _around(self.grams, quadrature([self.random, *self.gains.values()]))


@dataclass(frozen=True)
class Lifetime:
    """What a model costs over its life: once to train, and again with every query."""

    training: Cost
    per_query: Cost

    def total(self, queries: float) -> Interval:
        """Grams after ``queries`` queries; a training without an interval counts as exact.

        Without an interval of the query's cost there is none of the total.
        """
        grams = self.training.grams + queries * self.per_query.grams
        if self.per_query.random is None:
            return Interval(value=grams)
        training, query = self.training.gains, self.per_query.gains
        gains = (training.get(g, 0.0) + queries * query.get(g, 0.0) for g in training.keys() | query.keys())
        return _around(
            grams, quadrature([self.training.random or 0.0, queries * self.per_query.random, *gains])
        )


@dataclass(frozen=True)
class Difference:
    """Cost of a less cost of b: ``training + N · per_query``, in grams.

    ``errors`` are the half-widths of independent errors, each a pair that stands for the line
    ``first + N · second``.
    """

    training: float
    per_query: float
    errors: tuple[tuple[float, float], ...]

    def at(self, queries: float) -> float:
        return self.training + queries * self.per_query

    def half_width(self, queries: float) -> float:
        return quadrature(first + queries * second for first, second in self.errors)

    def tied(self, queries: float) -> bool:
        """Whether the difference at ``queries`` is within its interval of zero."""
        return abs(self.at(queries)) <= self.half_width(queries)

    @property
    def crossing(self) -> float | None:
        """Where the two lines cross, by their point values; None unless at a positive count."""
        if self.per_query == 0:
            return None
        queries = -self.training / self.per_query
        return queries if 0 < queries < math.inf else None

    def unresolved(self) -> FiellerSet:
        """The counts at which zero is within the interval: Fieller's set of ``-training / per_query``."""
        return fieller(
            -self.training,
            self.per_query,
            math.fsum(first**2 for first, _ in self.errors),
            math.fsum(second**2 for _, second in self.errors),
            -math.fsum(first * second for first, second in self.errors),
        )


def difference(a: Lifetime, b: Lifetime) -> Difference:
    """What a costs more than b; where neither query has an interval, nothing counts as uncertain."""
    training = a.training.grams - b.training.grams
    per_query = a.per_query.grams - b.per_query.grams
    if a.per_query.random is None and b.per_query.random is None:
        return Difference(training, per_query, ())
    errors = [(m.training.random or 0.0, 0.0) for m in (a, b)] + [
        (0.0, m.per_query.random or 0.0) for m in (a, b)
    ]
    return Difference(training, per_query, (*errors, *_gain_errors(a, b)))


def _gain_errors(a: Lifetime, b: Lifetime) -> Iterator[tuple[float, float]]:
    """The error of each gain in the difference: a's less b's, since one gain scales both alike."""
    costs = (a.training, b.training, a.per_query, b.per_query)
    common = _common_gain(costs)
    for gain in sorted(set().union(*(cost.gains for cost in costs))):
        # A gain that scales everything changes the size of the difference but never its sign.
        of_a, of_b, of_query_a, of_query_b = (
            cost.gains.get(gain, 0.0) - common * cost.grams for cost in costs
        )
        yield of_a - of_b, of_query_a - of_query_b


def _common_gain(costs: Sequence[Cost]) -> float:
    """The relative half-width that every part of every cost shares; 0 unless all are of one gain."""
    parts = [part for cost in costs for part in cost.parts if part.grams]
    one_gain = len({part.gain_id for part in parts}) == 1
    return min(part.systematic for part in parts) if one_gain else 0.0


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


def break_even(a: Lifetime, b: Lifetime) -> BreakEven:
    """Where a and b cost the same, and what can be said of it; the verdict is judged by the interval.

    ``crosses``: below some count one is surely cheaper, above it surely the other. ``a always cheaper``:
    at every count a is surely cheaper. ``not resolved``: at arbitrarily small or large counts the
    interval of the difference includes zero.
    """
    gap = difference(a, b)
    crossing = gap.crossing
    low, high, verdict = _judge(gap)
    if not gap.errors:
        low = high = None
    if crossing is not None and low is not None and high is not None:
        low, high = min(low, crossing), max(high, crossing)  # rounding
    return BreakEven(crossing, low, high, verdict, None if crossing is None else gap.training < 0)


def _judge(gap: Difference) -> tuple[float | None, float | None, Verdict]:
    """Bounds and verdict from the part of the unresolved set that lies above zero."""
    found = gap.unresolved()
    always: Verdict = "a always cheaper" if gap.at(1.0) < 0 else "b always cheaper"
    if found.kind == "none" or (found.kind == "between" and found.high is not None and found.high <= 0):
        return None, None, always
    low = found.low if found.low is not None and found.low > 0 else None
    high = found.high if found.high is not None and found.high > 0 else None
    if found.kind == "between":
        return low, high, "not resolved" if low is None or high is None else "crosses"
    if found.kind == "outside" and low is None:
        return high, None, "not resolved"
    return None, None, "not resolved"


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


def lower_envelope(models: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    """The cheapest model by point values as the number of queries grows from 0.

    ``models`` are pairs of training and per-query grams. Returns pairs of the count from which, and the
    model which; the first count is 0.
    """
    current = min(range(len(models)), key=lambda i: models[i])
    envelope = [(0.0, current)]
    while True:
        training, query = models[current]
        overtaking = [
            ((c - training) / (query - q), q, i)
            for i, (c, q) in enumerate(models)
            if q < query and c >= training
        ]
        if not overtaking:
            return envelope
        start, _, current = min(overtaking)
        envelope.append((max(start, envelope[-1][0]), current))


def _around(value: float, half_width: float) -> Interval:
    return Interval(value=value, low=max(0.0, value - half_width), high=value + half_width)
