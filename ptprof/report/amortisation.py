"""The amortisation for the terminal: the answer in words, then the figures behind it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ptprof.amortise.amortising import AmortiseReport, CheapestReport, Total
from ptprof.report import words
from ptprof.report.format import NONE, count, interval, paid, prefixed
from ptprof.report.style import paragraph, row, table

CHEAPEST, TIED = "◀", "≈"


def amortisation(report: AmortiseReport) -> RenderableType:
    """The whole answer; training, a query, and their sum stand apart."""
    parts: list[RenderableType] = [
        paragraph(words.answer(report), "bold"),
        paragraph(words.explained(report)),
        _costs(report),
        _totals(report),
    ]
    if report.break_even:
        parts.append(_break_even(report))
    return Group(*parts)


def _costs(report: AmortiseReport) -> Table:
    """What was measured: training once, and each query."""
    measured_here = any(model.runtime for model in report.models)
    columns = ("model", "runtime") if measured_here else ("model",)
    once = any(model.once_g.value for model in report.models)
    title = (
        "CO2eq of each training and of each query" if once else "CO2eq of training, once, and of each query"
    )
    numbers = (*(["paid once"] if once else []), "training", "source", "per query", "source")
    made = table(title, columns, numbers)
    for model in report.models:
        row(
            made,
            model.model,
            *([model.runtime or NONE] if measured_here else []),
            *([paid(model.once_g)] if once else []),
            paid(model.training_g),
            words.training_source(model),
            interval(model.per_query_g, "g"),
            model.source,
        )
    return made


def _totals(report: AmortiseReport) -> Table:
    """Training and queries together; per number of queries the cheapest and its ties marked."""
    made = table("Training and queries together", ("model",), (f"{count(n)} queries" for n in report.queries))
    for model in report.models:
        cells = (
            _total(total, _mark(model.model, best))
            for total, best in zip(model.totals, report.cheapest, strict=True)
        )
        row(made, model.model, *cells)
    made.add_section()
    row(made, "least, per query", *(_amortised(report, i) for i in range(len(report.queries))))
    made.caption = (
        f"{CHEAPEST} smallest total   {TIED} cannot be told apart from it\n"
        "± 95 %, with the errors that cancel between models\n"
    )
    return made


def _mark(model: str, best: CheapestReport) -> str:
    if model == best.model:
        return CHEAPEST
    return TIED if model in best.tied_with else " "


def _total(total: Total, mark: str) -> Text:
    grams = prefixed(total.total_g, "g", None if total.high is None else total.high - total.total_g)
    return Text(f"{grams} {mark}", style="bold" if mark == CHEAPEST else "")


def _amortised(report: AmortiseReport, index: int) -> str:
    least = min(model.totals[index].amortised_g_per_query for model in report.models)
    return f"{prefixed(least, 'g')}  "


def _break_even(report: AmortiseReport) -> Table:
    """Where each pair costs the same, and what can be said of it."""
    resampled = any(p.bootstrap_low or p.bootstrap_high for p in report.break_even)
    numbers = ("queries", "not told apart", *(["bootstrap"] if resampled else []))
    made = table("Break-even, every pair", ("pair",), numbers)
    made.add_column("verdict", overflow="fold")
    for pair in report.break_even:
        row(
            made,
            f"{pair.a} / {pair.b}",
            count(pair.queries),
            words.span(pair.low, pair.high),
            *([words.span(pair.bootstrap_low, pair.bootstrap_high)] if resampled else []),
            words.verdict(report, pair),
        )
    return made
