"""The figures of an amortisation: cost against queries, bars of each part, carbon against time and error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ptprof.amortise.amortising import AmortiseReport, Candidate, envelope
from ptprof.amortise.breakeven import difference
from ptprof.records import COMPONENTS, EnergyBreakdown, Interval, Measurement, ModelRecord
from ptprof.report.charts import Axis, Chart, Mark, Point, Series
from ptprof.stats import quadrature

POINTS = 121
MARGIN = 10.0  # one decade on either side of what was asked and where lines cross
MOST_DECADES = 9
WORST_RATIO = 4.0


def queries_axis(report: AmortiseReport) -> Axis:
    """The number of queries, and what a query is."""
    unit = "one-step forecasts" if report.unit == "one-step" else f"each a {report.unit}"
    return Axis(label=f"number of queries ({unit})", column="queries", log=True)


def counts(report: AmortiseReport) -> list[float]:
    """Counts of queries, evenly spread over the decades worth showing."""
    crossings = [start for start, _ in envelope(report.costs)[1:]]
    low = math.floor(math.log10(max(min(*report.queries, *crossings, math.inf) / MARGIN, 1.0)))
    high = math.ceil(math.log10(max(*report.queries, *crossings, 1.0) * MARGIN))
    low = max(low, high - MOST_DECADES)
    return [10 ** (low + (high - low) * i / (POINTS - 1)) for i in range(POINTS)]


def cost(report: AmortiseReport) -> Chart:
    """The total of each model over the number of queries, and where two of them cost the same."""
    queries = counts(report)
    lives = {candidate.model: candidate.lifetime for candidate in report.costs.candidates}
    marks = [
        Mark(
            x=pair.queries,
            y=lives[pair.a].total(pair.queries).value,
            label=f"{pair.a} and {pair.b}",
            sure=pair.verdict == "crosses",
        )
        for pair in report.break_even
        if pair.queries is not None
    ]
    return Chart(
        name="cost-against-queries",
        title="Training and queries together",
        kind="lines",
        x=queries_axis(report),
        y=Axis(label="total, CO2eq", column="total_g", unit="g", log=True),
        series=tuple(
            Series(name=c.model, style=style, points=_points(queries, map(c.lifetime.total, queries)))
            for style, c in enumerate(report.costs.candidates)
        ),
        marks=tuple(marks),
        caption="Dots: break-even points, filled where the intervals resolve them. Bands: 95 %.",
    )


def ratio(report: AmortiseReport) -> Chart:
    """How many times the cheapest each model costs; errors that two models share cancel."""
    queries = counts(report)
    return Chart(
        name="times-the-cheapest",
        title="How many times the cheapest",
        kind="lines",
        x=queries_axis(report),
        y=Axis(label="times the cheapest", column="times_the_cheapest", least=0.9, most=WORST_RATIO),
        series=tuple(
            Series(name=c.model, style=style, points=_points(queries, _ratios(report, c, queries)))
            for style, c in enumerate(report.costs.candidates)
        ),
        caption="The cheapest is 1. A band that reaches 1: the model cannot be told from the cheapest.",
    )


def training(report: AmortiseReport) -> Chart:
    """What training cost (the paper's Fig. 5a)."""
    figures = {model.model: model.training_g for model in report.models}
    return _bars("training", "Training, once", "training, CO2eq", "training_g", figures)


def per_query(report: AmortiseReport, name: str) -> Chart:
    """What a query cost: one step (the paper's Fig. 5b) or a rollout (5c)."""
    unit = "one step" if report.unit == "one-step" else f"a {report.unit}"
    figures = {model.model: model.per_query_g for model in report.models}
    return _bars(name, f"A query: {unit}", "per query, CO2eq", "per_query_g", figures)


def training_time(records: Sequence[ModelRecord], models: Sequence[str], grams_per_joule: float) -> Chart:
    """How long training took against what it cost (the paper's Fig. 6)."""
    series = [
        Series(
            name=record.model,
            style=models.index(record.model),
            points=(Point(x=Interval(value=record.duration_s), y=grams, note=record.run),),
        )
        for record in records
        if (grams := of_energy(record.energy, grams_per_joule)) is not None
    ]
    return Chart(
        name="training-time",
        title="Training: time against carbon",
        kind="points",
        x=Axis(label="time of training", column="training_s", unit="s", log=True),
        y=Axis(label="training, CO2eq", column="training_g", unit="g", log=True),
        series=tuple(series),
        caption="On a line from the lower left to the upper right, carbon is time in other words.",
    )


def query_time(measurements: Sequence[Measurement], models: Sequence[str], grams_per_joule: float) -> Chart:
    """How long a query takes against what it costs, on every runtime measured."""
    by_model: dict[str, list[Point]] = {model: [] for model in models}
    for m in measurements:
        grams = of_energy(m.energy_per_query, grams_per_joule)
        if grams is not None and m.model in by_model:
            by_model[m.model].append(Point(x=m.latency_s, y=grams, note=m.runtime))
    return Chart(
        name="query-time",
        title="One step: time against carbon, on each runtime",
        kind="points",
        x=Axis(label="latency", column="latency_s", unit="s", log=True),
        y=Axis(label="per query, CO2eq", column="per_query_g", unit="g", log=True),
        series=tuple(
            Series(name=name, style=models.index(name), points=tuple(points))
            for name, points in by_model.items()
            if points
        ),
        caption="One mark for each runtime that the model was measured on.",
    )


def error_against_total(report: AmortiseReport, metric: str) -> Chart:
    """Error against the total after the first number of queries; the page moves it along."""
    queries = report.queries[0]
    return Chart(
        name="error-against-carbon",
        title="Error against carbon",
        kind="points",
        x=Axis(label="training and queries, CO2eq", column="total_g", unit="g", log=True),
        y=Axis(label=f"{metric}, mean over fields", column="error", log=True),
        series=tuple(
            Series(
                name=c.model,
                style=style,
                points=(Point(x=c.lifetime.total(queries), y=c.error, note=f"{queries:g} queries"),),
            )
            for style, c in enumerate(report.costs.candidates)
            if c.error is not None
        ),
        caption="The lower left is best.",
    )


def of_energy(energy: EnergyBreakdown, grams_per_joule: float) -> Interval | None:
    """Grams CO2eq of an energy and their interval; components err independently."""
    parts = [energy.present[c] for c in COMPONENTS if c in energy.present]
    if not parts:
        return None
    value = grams_per_joule * sum(e.joules for e in parts)
    half = grams_per_joule * quadrature(max(e.high - e.joules, e.joules - e.low) for e in parts)
    return Interval(value=value, low=max(0.0, value - half), high=value + half)


def _points(queries: Sequence[float], figures: Iterable[Interval]) -> tuple[Point, ...]:
    return tuple(Point(x=Interval(value=n), y=y) for n, y in zip(queries, figures, strict=True))


def _ratios(report: AmortiseReport, candidate: Candidate, queries: Sequence[float]) -> list[Interval]:
    """A model's total over that of the cheapest by point values, less the errors that the two share."""
    pieces = envelope(report.costs)
    lives = {c.model: c.lifetime for c in report.costs.candidates}
    figures = []
    for n in queries:
        best = lives[[name for start, name in pieces if start <= n][-1]]
        gap, total = difference(candidate.lifetime, best), best.total(n).value
        half = gap.half_width(n) if best is not candidate.lifetime else 0.0
        value = 1 + gap.at(n) / total
        figures.append(Interval(value=value, low=value - half / total, high=value + half / total))
    return figures


def _bars(name: str, title: str, label: str, column: str, figures: Mapping[str, Interval]) -> Chart:
    return Chart(
        name=name,
        title=title,
        kind="bars",
        y=Axis(label=label, column=column, unit="g"),
        series=tuple(
            Series(name=model, style=style, points=(Point(y=figure),))
            for style, (model, figure) in enumerate(figures.items())
        ),
        caption="Bars: 95 %, with the errors that cancel between models.",
    )
