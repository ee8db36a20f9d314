"""What `ptprof amortise` answers, as values; dumped, they are the document of ``--json``."""

from __future__ import annotations

from pydantic import Field

from ptprof.amortise.assumptions import Assumptions
from ptprof.amortise.breakeven import Verdict
from ptprof.amortise.candidate import Costs, Item, Projected
from ptprof.records import Component, Interval, Source, Value


class Total(Value):
    """Training and ``queries`` queries together."""

    queries: float
    total_g: float
    low: float | None
    high: float | None
    amortised_g_per_query: float


class Lines(Value):
    """A total, or a difference of two: ``once_g + n · training_g + N · per_query_g`` grams after N queries.

    ``n = max(1, ceil(N / retrain_every))``, 1 where that is None. ``errors`` are half-widths of the same
    form, independent of each other: the interval takes the root of the sum of their squares. None is no
    interval.
    """

    once_g: float
    training_g: float
    per_query_g: float
    retrain_every: float | None
    errors: tuple[tuple[float, float, float], ...] | None


class ModelReport(Value):
    """One model: training and inference apart, then together.

    ``once_g`` is paid once, ``training_g`` at each training, ``per_query_g`` with every query; ``items`` says
    what they are made of. ``parity_queries`` is the number of queries that cost as much as what is paid
    before the first. ``error`` is in the metric that was asked for.
    """

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
    once_g: Interval
    items: tuple[Item, ...]
    parity_queries: Interval | None
    error: Interval | None
    lines: Lines


class BreakEvenReport(Value):
    """One pair: ``queries`` where the lines cross, ``low`` to ``high`` where the two are not told apart.

    ``bootstrap_low`` and ``bootstrap_high`` are the same from the raw windows, where that was asked for.
    ``difference`` is what ``a`` costs more than ``b``.
    """

    a: str
    b: str
    queries: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    cheaper_below: str | None
    bootstrap_low: float | None
    bootstrap_high: float | None
    difference: Lines


class CheapestReport(Value):
    """The smallest total at ``queries``, and who cannot be told from it."""

    queries: float
    model: str
    tied_with: tuple[str, ...]


class Piece(Value):
    """The cheapest model, by point values, from a number of queries on, and how sure its beginning is.

    ``switch_low``, ``switch_high`` and ``switch_verdict`` are those of the break-even with the model before.
    """

    from_queries: float
    to_queries: float
    model: str
    switch_low: float | None = None
    switch_high: float | None = None
    switch_verdict: Verdict | None = None


class Dominated(Value):
    """A model, and those that are surely cheaper and surely no less accurate."""

    model: str
    by: tuple[str, ...]


class Front(Value):
    """The models that none dominates at ``queries``, by rising error; and the others."""

    queries: float
    front: tuple[str, ...]
    dominated: tuple[Dominated, ...]


class ParetoReport(Value):
    """Accuracy against carbon; models without the error ``metric`` stand in no front."""

    metric: str
    fronts: tuple[Front, ...]


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
    envelope: tuple[Piece, ...]
    pareto: ParetoReport | None
    assumptions: Assumptions | None
    notes: tuple[str, ...]
    costs: Costs = Field(exclude=True, repr=False)
