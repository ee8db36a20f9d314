"""The amortisation as CSV, a line for each model and number of queries, and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from ptprof.amortise.amortising import AmortiseReport, ModelReport
from ptprof.records import Interval
from ptprof.report import words
from ptprof.report.format import count, interval, paid, prefixed

COLUMNS = (
    "model",
    "runtime",
    "device",
    "batch",
    "unit",
    "once_g",
    "once_g_low",
    "once_g_high",
    "training_g",
    "training_g_low",
    "training_g_high",
    "training_source",
    "per_query_g",
    "per_query_g_low",
    "per_query_g_high",
    "source",
    "train_intensity_g_per_kwh",
    "train_pue",
    "serve_intensity_g_per_kwh",
    "serve_pue",
    "queries",
    "total_g",
    "total_g_low",
    "total_g_high",
    "amortised_g_per_query",
    "cheapest",
    "tied_with_cheapest",
)


def as_csv(report: AmortiseReport) -> str:
    """Training, a query, and their sum stand in columns of their own; an empty cell is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for model in report.models:
        fixed = _fixed(report, model)
        for total, best in zip(model.totals, report.cheapest, strict=True):
            standing = (model.model == best.model, model.model in best.tied_with)
            writer.writerow(
                (
                    *fixed,
                    total.queries,
                    total.total_g,
                    total.low,
                    total.high,
                    total.amortised_g_per_query,
                    *("yes" if true else "no" for true in standing),
                )
            )
    return text.getvalue()


def _fixed(report: AmortiseReport, model: ModelReport) -> tuple[object, ...]:
    """What does not depend on the number of queries."""
    stated = report.assumptions
    rates: tuple[float | None, ...] = (None,) * 4
    if stated is not None:
        both = (stated.training, stated.serving)
        rates = tuple(rate for c in both for rate in (c.intensity_g_per_kwh, c.pue))
    return (
        model.model,
        model.runtime,
        model.device,
        model.batch,
        report.unit,
        *ends(model.once_g),
        *ends(model.training_g),
        model.training_source,
        *ends(model.per_query_g),
        model.source,
        *rates,
    )


def ends(figure: Interval) -> tuple[float | None, float | None, float | None]:
    return figure.value, figure.low, figure.high


def as_markdown(report: AmortiseReport) -> str:
    """The answer in words, then the costs, the totals and the pairs as tables."""
    parts = [
        "\n".join(f"**{sentence}**" for sentence in words.answer(report)),
        "\n".join(f"- {sentence}" for sentence in words.explained(report)),
        markdown_table(
            ("model", "paid once", "training", "source", "per query", "source"), map(_costs, report.models)
        ),
        markdown_table(
            ("model", *(f"{count(n)} queries" for n in report.queries)),
            (_totals(report, i) for i in range(len(report.models))),
        ),
    ]
    if report.break_even:
        parts.append(
            markdown_table(
                ("pair", "break-even", "not told apart", "verdict"),
                (
                    (f"{p.a} / {p.b}", count(p.queries), words.span(p.low, p.high), words.verdict(report, p))
                    for p in report.break_even
                ),
            )
        )
    return "\n\n".join(parts) + "\n"


def _costs(model: ModelReport) -> tuple[str, ...]:
    return (
        model.model,
        paid(model.once_g),
        paid(model.training_g),
        words.training_source(model),
        interval(model.per_query_g, "g"),
        model.source,
    )


def _totals(report: AmortiseReport, index: int) -> tuple[str, ...]:
    model = report.models[index]
    cells = [model.model]
    for total, best in zip(model.totals, report.cheapest, strict=True):
        half = None if total.high is None else total.high - total.total_g
        grams = prefixed(total.total_g, "g", half)
        if model.model == best.model:
            grams = f"**{grams}**"
        cells.append(f"{grams} ≈" if model.model in best.tied_with else grams)
    return tuple(cells)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others stand to the right."""
    lines = [header, [":--"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
