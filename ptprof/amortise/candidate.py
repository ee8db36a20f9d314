"""What is compared: models with their costs, what a query is, and how joules became grams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptprof.amortise.accuracy import Metric
from ptprof.amortise.assumptions import Assumptions
from ptprof.amortise.lifetime import Cost, Lifetime
from ptprof.records import Component, Interval, Source, Value


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


class Item(Value):
    """One figure that a model's cost is made of: what it is for, when it is paid, and where it comes from."""

    what: Literal["data generation", "tuning", "cold starts", "training", "query", "embodied"]
    paid: Literal["once", "training", "query"]
    grams: float
    source: Source


@dataclass(frozen=True)
class Paid:
    """A cost, and how it is listed."""

    cost: Cost
    item: Item


@dataclass(frozen=True)
class Candidate:
    """One model to compare: what it costs, on what, and how far that is known.

    ``runtime``, ``device``, ``batch`` and ``components`` are None for figures measured elsewhere,
    ``projected`` for a training that was made. ``error`` is how far its forecasts are off, in the metric that
    was asked for. ``samples`` are the raw windows of a query's cost (g), where there are any.
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
    items: tuple[Item, ...] = ()
    error: Interval | None = None
    samples: tuple[float, ...] = ()


@dataclass(frozen=True)
class Costs:
    """Candidates that may be compared, what a query is, and how joules became grams.

    ``intensity_g_per_kwh`` and ``pue`` are those of serving, None where the figures came as grams, and so are
    ``assumptions``. ``metric`` is what the errors of the candidates are errors of. ``notes`` are sentences
    that say what was left out.
    """

    candidates: tuple[Candidate, ...]
    unit: str
    intensity_g_per_kwh: float | None
    pue: float | None
    notes: tuple[str, ...] = ()
    assumptions: Assumptions | None = None
    metric: Metric | None = None
