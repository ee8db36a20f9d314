"""Training spread over queries: from what each model costs to totals, break-even points and the cheapest."""

from __future__ import annotations

from collections.abc import Sequence

from ptprof.amortise import bootstrap as resampling
from ptprof.amortise import breakeven
from ptprof.amortise.answer import (
    AmortiseReport,
    BreakEvenReport,
    CheapestReport,
    Dominated,
    Front,
    Lines,
    ModelReport,
    ParetoReport,
    Piece,
    Total,
)
from ptprof.amortise.assumptions import PUE
from ptprof.amortise.candidate import Candidate, Costs, Item, Projected
from ptprof.amortise.grids import INTENSITY_G_PER_KWH
from ptprof.amortise.lifetime import Errors, Lifetime, difference
from ptprof.amortise.pareto import dominators
from ptprof.errors import StudyError, UsageError

__all__ = [
    "INTENSITY_G_PER_KWH",
    "MOST_QUERIES",
    "PUE",
    "AmortiseReport",
    "BreakEvenReport",
    "Candidate",
    "CheapestReport",
    "Costs",
    "Item",
    "ModelReport",
    "ParetoReport",
    "Piece",
    "Projected",
    "Total",
    "amortise",
    "envelope",
    "parse_queries",
]

MOST_QUERIES = 1e18
ENVELOPE = (1.0, 1e12)
"""The numbers of queries over which the cheapest model is told."""


def amortise(costs: Costs, queries: Sequence[float], *, bootstrap: bool = False) -> AmortiseReport:
    """Spread each candidate's training over the numbers of queries, and compare every pair.

    With ``bootstrap``, the break-even points also have intervals from the raw windows.

    Raises
    ------
    UsageError : no number of queries, or one that is not between 1 and 1e18
    """
    if not queries:
        raise UsageError("give at least one number of queries: --queries 1e6")
    counts = tuple(dict.fromkeys(_count(n, str(n)) for n in queries))
    candidates = costs.candidates
    return AmortiseReport(
        queries=counts,
        unit=costs.unit,
        intensity_g_per_kwh=costs.intensity_g_per_kwh,
        pue=costs.pue,
        models=tuple(_model(candidate, counts) for candidate in candidates),
        break_even=tuple(
            _break_even(candidates[i], candidates[j], bootstrap) for i, j in breakeven.pairs(len(candidates))
        ),
        cheapest=tuple(_cheapest(candidates, n) for n in counts),
        envelope=_pieces(costs),
        pareto=_pareto(costs, counts),
        assumptions=costs.assumptions,
        notes=costs.notes,
        costs=costs,
    )


def envelope(costs: Costs) -> list[tuple[float, str]]:
    """The cheapest model by point values as queries grow: pairs of the count from which, and its name."""
    pieces = breakeven.envelope([candidate.lifetime for candidate in costs.candidates])
    return [(start, costs.candidates[i].model) for start, i in pieces]


def parse_queries(text: str) -> float:
    """A number of queries as a user writes it: ``1e6``, ``1000000`` or ``1_000_000``.

    Raises
    ------
    UsageError : not a number, or not between 1 and 1e18
    """
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    return _count(number, text)


def _count(number: float, text: str) -> float:
    if not 1 <= number <= MOST_QUERIES:
        raise UsageError(f"a number of queries is a number from 1 to 1e18, such as 1e6, not {text!r}")
    return float(number)


def _model(candidate: Candidate, counts: Sequence[float]) -> ModelReport:
    life = candidate.lifetime
    return ModelReport(
        model=candidate.model,
        runtime=candidate.runtime,
        device=candidate.device,
        batch=candidate.batch,
        source=candidate.source,
        training_source=candidate.training_source,
        projected=candidate.projected,
        components=candidate.components,
        training_g=life.training.interval(),
        per_query_g=life.per_query.interval(),
        totals=tuple(_total(life, n) for n in counts),
        once_g=life.once.interval(),
        items=candidate.items,
        parity_queries=breakeven.parity(life),
        error=candidate.error,
        lines=_lines(life.once.grams, life.training.grams, life.per_query.grams, life, life.errors()),
    )


def _total(life: Lifetime, queries: float) -> Total:
    total = life.total(queries)
    return Total(
        queries=queries,
        total_g=total.value,
        low=total.low,
        high=total.high,
        amortised_g_per_query=total.value / queries,
    )


def _break_even(a: Candidate, b: Candidate, bootstrap: bool) -> BreakEvenReport:
    found = breakeven.break_even(a.lifetime, b.lifetime)
    below = {True: a.model, False: b.model, None: None}[found.a_cheaper_below]
    resampled = resampling.break_even(a, b) if bootstrap else (None, None)
    gap = difference(a.lifetime, b.lifetime)
    return BreakEvenReport(
        a=a.model,
        b=b.model,
        queries=found.queries,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
        cheaper_below=below,
        bootstrap_low=resampled[0],
        bootstrap_high=resampled[1],
        difference=_lines(gap.once, gap.training, gap.per_query, a.lifetime, gap.errors),
    )


def _lines(
    once: float, training: float, per_query: float, life: Lifetime, errors: Sequence[Errors] | None
) -> Lines:
    return Lines(
        once_g=once,
        training_g=training,
        per_query_g=per_query,
        retrain_every=life.retrain_every,
        errors=None if errors is None else tuple((e.once, e.training, e.per_query) for e in errors),
    )


def _pieces(costs: Costs) -> tuple[Piece, ...]:
    """The cheapest model over ``ENVELOPE``."""
    first, last = ENVELOPE
    lives = {candidate.model: candidate.lifetime for candidate in costs.candidates}
    starts = [(start, model) for start, model in envelope(costs) if start < last]
    ends = [start for start, _ in starts[1:]] + [last]
    pieces: list[Piece] = []
    for (start, model), end in zip(starts, ends, strict=True):
        if end <= first:
            continue
        if not pieces:
            pieces.append(Piece(from_queries=first, to_queries=end, model=model))
            continue
        switch = breakeven.break_even(lives[pieces[-1].model], lives[model])
        pieces.append(
            Piece(
                from_queries=start,
                to_queries=end,
                model=model,
                switch_low=switch.low,
                switch_high=switch.high,
                switch_verdict=switch.verdict,
            )
        )
    return tuple(pieces)


def _pareto(costs: Costs, counts: Sequence[float]) -> ParetoReport | None:
    if costs.metric is None:
        return None
    known = [(c.model, c.lifetime, c.error) for c in costs.candidates if c.error is not None]
    known.sort(key=lambda one: one[2].value)
    if not known:
        raise StudyError(f"no model has {costs.metric}: run `ptprof evaluate`, or ask for another metric")
    fronts = []
    for n in counts:
        by = dominators([(life, error) for _, life, error in known], n)
        names = [model for model, _, _ in known]
        fronts.append(
            Front(
                queries=n,
                front=tuple(name for name, rivals in zip(names, by, strict=True) if not rivals),
                dominated=tuple(
                    Dominated(model=name, by=tuple(names[i] for i in rivals))
                    for name, rivals in zip(names, by, strict=True)
                    if rivals
                ),
            )
        )
    return ParetoReport(metric=costs.metric.error_name, fronts=tuple(fronts))


def _cheapest(candidates: Sequence[Candidate], queries: float) -> CheapestReport:
    best, tied = breakeven.cheapest([c.lifetime for c in candidates], queries)
    return CheapestReport(
        queries=queries, model=candidates[best].model, tied_with=tuple(candidates[i].model for i in tied)
    )
