"""What a model costs over its life, how sure that is, and what one model costs more than another.

``total(N) = once + n(N) · training + N · per query``, with ``n(N) = ceil(N / K)`` trainings where the model
is trained anew every K queries, one otherwise. What is uncertain in a total is a set of independent errors,
each of the same form: the random error of what is paid once, of training, of a query, and one error per gain
(a board's, a counter's, a CPU model's) that scales everything measured with it alike. An interval takes the
errors in quadrature. In a difference between two models the errors of one gain are subtracted first, so that
what the two share cancels. docs/amortisation.md derives it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ptprof.records import Interval
from ptprof.stats import quadrature


@dataclass(frozen=True)
class Part:
    """A share of a cost, and the gain error that scales it: relative half-width, and shared with what."""

    grams: float
    systematic: float = 0.0
    gain_id: str = ""


@dataclass(frozen=True)
class Cost:
    """Grams CO2eq; ``random`` is the half-width of the random error, None where no interval is known.

    ``shared`` holds random errors that several costs have in common, each a name and its half-width (g): two
    models that were trained on one data set share the error of what it cost.
    """

    parts: tuple[Part, ...]
    random: float | None = None
    shared: tuple[tuple[str, float], ...] = ()

    @property
    def grams(self) -> float:
        return math.fsum(part.grams for part in self.parts)

    @property
    def gains(self) -> dict[str, float]:
        """The half-width (g) that each gain brings; parts of one gain err together."""
        return _by_name((part.gain_id, part.systematic * part.grams) for part in self.parts)

    def interval(self) -> Interval:
        """The cost with random and systematic error together; a cost is never below zero."""
        if self.random is None:
            return Interval(value=self.grams)
        shared = (half for _, half in self.shared)
        return around(self.grams, quadrature([self.random, *shared, *self.gains.values()]))


NOTHING = Cost((), 0.0)
"""What is never paid, and is known exactly."""


def add(costs: Sequence[Cost]) -> Cost:
    """The sum of costs whose random errors are independent; one without an interval counts as exact."""
    if not costs:
        return NOTHING
    known = [cost.random for cost in costs if cost.random is not None]
    return Cost(
        tuple(part for cost in costs for part in cost.parts),
        quadrature(known) if known else None,
        tuple(_by_name(error for cost in costs for error in cost.shared).items()),
    )


def scaled(cost: Cost, factor: float) -> Cost:
    """``factor`` times the cost, errors and all."""
    return Cost(
        tuple(Part(part.grams * factor, part.systematic, part.gain_id) for part in cost.parts),
        None if cost.random is None else cost.random * factor,
        tuple((name, half * factor) for name, half in cost.shared),
    )


@dataclass(frozen=True)
class Errors:
    """Half-widths (g) of one error, of the three terms of a total; they add up, signs and all."""

    once: float
    training: float
    per_query: float

    def at(self, trainings: float, queries: float) -> float:
        return self.once + trainings * self.training + queries * self.per_query


@dataclass(frozen=True)
class Lifetime:
    """What a model costs over its life: once, at each training, and with every query.

    ``retrain_every`` is the number of queries after which it is trained anew, None for never.
    """

    training: Cost
    per_query: Cost
    once: Cost = NOTHING
    retrain_every: float | None = None

    @property
    def terms(self) -> tuple[Cost, Cost, Cost]:
        """What is paid once, at each training, and with every query."""
        return self.once, self.training, self.per_query

    @property
    def first_g(self) -> float:
        """Grams before the first query."""
        return self.once.grams + self.training.grams

    def total(self, queries: float) -> Interval:
        """Grams after ``queries`` queries; what comes without an interval counts as exact.

        Without an interval of the query's cost there is none of the total.
        """
        trainings = trained(queries, self.retrain_every)
        once, training, query = (cost.grams for cost in self.terms)
        grams = once + trainings * training + queries * query
        errors = self.errors()
        if errors is None:
            return Interval(value=grams)
        return around(grams, quadrature(error.at(trainings, queries) for error in errors))

    def errors(self) -> tuple[Errors, ...] | None:
        """The independent errors of a total; None where the query's cost has no interval."""
        if self.per_query.random is None:
            return None
        return (*_random(self), *(Errors(*line) for line in _common(self).values()))


@dataclass(frozen=True)
class Difference:
    """Cost of a less cost of b, in grams: ``once + n(N) · training + N · per_query``, and its errors.

    ``errors`` is None where neither query has an interval: then nothing counts as uncertain.
    """

    once: float
    training: float
    per_query: float
    errors: tuple[Errors, ...] | None
    retrain_every: float | None = None

    def at(self, queries: float) -> float:
        return self.once + trained(queries, self.retrain_every) * self.training + queries * self.per_query

    def half_width(self, queries: float) -> float:
        trainings = trained(queries, self.retrain_every)
        return quadrature(error.at(trainings, queries) for error in self.errors or ())

    def tied(self, queries: float) -> bool:
        """Whether the difference at ``queries`` is within its interval of zero."""
        return abs(self.at(queries)) <= self.half_width(queries)


def trained(queries: float, retrain_every: float | None) -> float:
    """How often a model has been trained when it has answered ``queries`` queries: once to begin with."""
    return 1.0 if retrain_every is None else float(max(1, math.ceil(queries / retrain_every)))


def difference(a: Lifetime, b: Lifetime) -> Difference:
    """What a costs more than b."""
    once, training, per_query = (x.grams - y.grams for x, y in zip(a.terms, b.terms, strict=True))
    uncertain = a.per_query.random is not None or b.per_query.random is not None
    errors = (*_random(a), *_random(b), *_shared(a, b)) if uncertain else None
    return Difference(once, training, per_query, errors, a.retrain_every)


def around(value: float, half_width: float) -> Interval:
    """A cost with its interval; it is never below zero."""
    return Interval(value=value, low=max(0.0, value - half_width), high=value + half_width)


def _random(life: Lifetime) -> Iterator[Errors]:
    """The errors that are a model's own."""
    for i, cost in enumerate(life.terms):
        if cost.random:
            yield Errors(*(cost.random if i == j else 0.0 for j in range(3)))


def _shared(a: Lifetime, b: Lifetime) -> Iterator[Errors]:
    """The errors of gains, and others that have a name: a's less b's, since one name is one error."""
    # A gain that scales everything changes the size of the difference but never its sign.
    common = _common_gain((*a.terms, *b.terms))
    of_a, of_b = _common(a, common), _common(b, common)
    nothing = (0.0, 0.0, 0.0)
    for name in sorted(of_a.keys() | of_b.keys()):
        pairs = zip(of_a.get(name, nothing), of_b.get(name, nothing), strict=True)
        yield Errors(*(x - y for x, y in pairs))


def _common(life: Lifetime, left_out: float = 0.0) -> dict[str, tuple[float, float, float]]:
    """By name, what an error brings to each term; ``left_out`` of each gain's relative error."""
    lines: dict[str, list[float]] = {}
    for i, cost in enumerate(life.terms):
        gains = _by_name((p.gain_id, (p.systematic - left_out) * p.grams) for p in cost.parts)
        named = {f"gain {name}": half for name, half in gains.items()} | {
            f"shared {name}": half for name, half in cost.shared
        }
        for name, half in named.items():
            lines.setdefault(name, [0.0, 0.0, 0.0])[i] += half
    return {name: (line[0], line[1], line[2]) for name, line in lines.items()}


def _common_gain(costs: Sequence[Cost]) -> float:
    """The relative half-width that every part of every cost shares; 0 unless all are of one gain."""
    parts = [part for cost in costs for part in cost.parts if part.grams]
    one_gain = len({part.gain_id for part in parts}) == 1
    return min(part.systematic for part in parts) if one_gain else 0.0


def _by_name(errors: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Errors of one name added up, those of nothing left out."""
    sums: dict[str, float] = {}
    for name, half in errors:
        if half:
            sums[name] = sums.get(name, 0.0) + half
    return sums
