"""Which models are worth their cost: accuracy against carbon, at a number of queries."""

from __future__ import annotations

from collections.abc import Sequence

from ptprof.amortise.lifetime import Lifetime, difference
from ptprof.records import Interval


def dominators(models: Sequence[tuple[Lifetime, Interval]], queries: float) -> list[tuple[int, ...]]:
    """Per model those that dominate it at ``queries``: surely cheaper, and surely more accurate.

    Surely is what the intervals say: the difference of the totals is outside its own, and those of the
    errors do not overlap. Where neither error has an interval, one that is as accurate is enough.
    A model that none dominates is on the front.
    """
    return [
        tuple(
            i
            for i, (rival, rival_error) in enumerate(models)
            if i != j and _cheaper(rival, life, queries) and _as_accurate(rival_error, error)
        )
        for j, (life, error) in enumerate(models)
    ]


def _cheaper(a: Lifetime, b: Lifetime, queries: float) -> bool:
    gap = difference(a, b)
    return gap.at(queries) < 0 and not gap.tied(queries)


def _as_accurate(a: Interval, b: Interval) -> bool:
    highest = a.value if a.high is None else a.high
    lowest = b.value if b.low is None else b.low
    exact = a.high is None and b.low is None
    return highest <= lowest if exact else highest < lowest
