"""Training spread over queries: from what each model costs to totals, break-even points and the cheapest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from ptprof.errors import UsageError
from ptprof.profile import breakeven
from ptprof.profile.breakeven import Lifetime, Verdict
from ptprof.records import Component, Interval, Source, Value

INTENSITY_G_PER_KWH = 445.0  # world average of 2024: IEA, Electricity 2025
PUE = 1.0  # energy is measured at the machine; the site's overhead is the user's to state
MOST_QUERIES = 1e18


class Projected(Value):
    """How a training that was not made was projected: to ``epochs`` epochs, from ``steps`` steps.

    ``half_width`` is that of an epoch's cost, relative, at 95 %, gain errors aside; ``converged`` whether it
    is as small as it was to be. ``source`` is that of the energy of the steps.
    """

    epochs: int
    steps: int
    half_width: float | None
    converged: bool
    source: Source
    synthetic_data: bool


@dataclass(frozen=True)
class Candidate:
    """One model to compare: what it costs, on what, and how far that is known.

    ``runtime``, ``device``, ``batch`` and ``components`` are None for figures measured elsewhere,
    ``projected`` for a training that was made.
    """

    model: str
    lifetime: Lifetime
    source: Source
    training_source: Source
    runtime: str | None = None
    device: str | None = None
    batch: int | None = None
    components: tuple[Component, ...] | None = None
    projected: Projected | None = None


@dataclass(frozen=True)
class Costs:
    """Candidates that may be compared, what a query is, and how joules became grams.

    ``intensity_g_per_kwh`` and ``pue`` are None where the figures came as grams. ``notes`` are
    sentences that say what was left out.
    """

    candidates: tuple[Candidate, ...]
    unit: str
    intensity_g_per_kwh: float | None
    pue: float | None
    notes: tuple[str, ...] = ()


class Total(Value):
    """Training and ``queries`` queries together."""

    queries: float
    total_g: float
    low: float | None
    high: float | None
    amortised_g_per_query: float


class ModelReport(Value):
    """One model: training and inference apart, then together."""

    model: str
    runtime: str | None
    device: str | None
    batch: int | None
    source: Source
    training_source: Source
    projected: Projected | None
    components: tuple[Component, ...] | None
    training_g: Interval
    per_query_g: Interval
    totals: tuple[Total, ...]


class BreakEvenReport(Value):
    """One pair: ``queries`` where the lines cross, ``low`` to ``high`` where the two are not told apart."""

    a: str
    b: str
    queries: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    cheaper_below: str | None


class CheapestReport(Value):
    """The smallest total at ``queries``, and who cannot be told from it."""

    queries: float
    model: str
    tied_with: tuple[str, ...]


class AmortiseReport(Value):
    """What `ptprof amortise` answers; dumped, it is the document of ``--json``.

    ``costs``, which it was made from, is not dumped: figures and words are made from it.
    """

    queries: tuple[float, ...]
    unit: str
    intensity_g_per_kwh: float | None
    pue: float | None
    models: tuple[ModelReport, ...]
    break_even: tuple[BreakEvenReport, ...]
    cheapest: tuple[CheapestReport, ...]
    costs: Costs = Field(exclude=True, repr=False)


def amortise(costs: Costs, queries: Sequence[float]) -> AmortiseReport:
    """Spread each candidate's training over the numbers of queries, and compare every pair.

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
            _break_even(candidates[i], candidates[j]) for i, j in breakeven.pairs(len(candidates))
        ),
        cheapest=tuple(_cheapest(candidates, n) for n in counts),
        costs=costs,
    )


def envelope(costs: Costs) -> list[tuple[float, str]]:
    """The cheapest model by point values as queries grow: pairs of the count from which, and its name."""
    lines = [(c.lifetime.training.grams, c.lifetime.per_query.grams) for c in costs.candidates]
    return [(start, costs.candidates[i].model) for start, i in breakeven.lower_envelope(lines)]


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


def _break_even(a: Candidate, b: Candidate) -> BreakEvenReport:
    found = breakeven.break_even(a.lifetime, b.lifetime)
    below = {True: a.model, False: b.model, None: None}[found.a_cheaper_below]
    return BreakEvenReport(
        a=a.model,
        b=b.model,
        queries=found.queries,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
        cheaper_below=below,
    )


def _cheapest(candidates: Sequence[Candidate], queries: float) -> CheapestReport:
    best, tied = breakeven.cheapest([c.lifetime for c in candidates], queries)
    return CheapestReport(
        queries=queries, model=candidates[best].model, tied_with=tuple(candidates[i].model for i in tied)
    )
