"""The amortisation as a picture: total cost against the number of queries."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ptprof.plots import line_styles, literal, new_figure, save
from ptprof.profile.amortise import AmortiseReport, Candidate, envelope
from ptprof.profile.breakeven import difference
from ptprof.report import words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cost_against_queries", "save"]

POINTS = 200
MARGIN = 10.0  # one decade on either side of what was asked and where lines cross
MOST_DECADES = 9
WORST_RATIO = 4.0


def cost_against_queries(report: AmortiseReport) -> Figure:
    """Two panels over a common axis, both with 95 % bands.

    Above, the total of each model, both axes logarithmic. Below, how many times the cheapest it costs,
    where the lines part and errors that two models share cancel: a band that reaches 1 means that the
    model cannot be told from the cheapest.
    """
    figure, (above, below) = new_figure(8.0, 7.0, nrows=2, sharex=True, height_ratios=(3, 2))
    queries = _counts(report)
    for candidate, style in zip(report.costs.candidates, line_styles(), strict=False):
        _total(above, candidate, queries, style)
        _ratio(below, candidate, report, queries, style)
    for start, _ in envelope(report.costs)[1:]:
        for axes in (above, below):
            axes.axvline(start, color="#555555", linewidth=0.8)
    _crossings(above, report)
    above.set(xscale="log", yscale="log", ylabel="total, gCO2eq")
    above.legend(loc="upper left", ncols=2)
    above.set_title(_wrapped(words.answer(report), 115), fontsize=9, loc="left")
    below.set(xlabel=_axis_label(report), ylabel="times the cheapest")
    below.set(xlim=(queries[0], queries[-1]), ylim=(0.9, min(below.get_ylim()[1], WORST_RATIO)))
    figure.supxlabel(_wrapped(_footer(report), 130), fontsize=7.5, x=0.01, ha="left")
    return figure


def _axis_label(report: AmortiseReport) -> str:
    unit = "one-step forecasts" if report.unit == "one-step" else f"each a {report.unit}"
    return f"number of queries ({unit})"


def _footer(report: AmortiseReport) -> list[str]:
    marks = "Dots: break-even points, filled where the intervals resolve them. Bands: 95 %."
    return [
        *words.by_point_values(report),
        marks,
        words.query(report),
        words.conversion(report),
        *words.caveats(report),
    ]


def _wrapped(lines: Sequence[str], width: int) -> str:
    return "\n".join(textwrap.fill(literal(line), width) for line in lines)


def _crossings(axes: Any, report: AmortiseReport) -> None:
    """Where two lines cross, filled where the intervals say so too."""
    lives = {candidate.model: candidate.lifetime for candidate in report.costs.candidates}
    for pair in report.break_even:
        if pair.queries is not None:
            fill = "#222222" if pair.verdict == "crosses" else "white"
            total = lives[pair.a].total(pair.queries).value
            axes.plot(pair.queries, total, "o", markersize=4, color="#222222", markerfacecolor=fill, zorder=5)


def _counts(report: AmortiseReport) -> list[float]:
    """Counts of queries, evenly spread over the decades worth showing."""
    crossings = [start for start, _ in envelope(report.costs)[1:]]
    low = math.log10(max(min(*report.queries, *crossings, math.inf) / MARGIN, 1.0))
    high = math.log10(max(*report.queries, *crossings, 0.0) * MARGIN)
    low = max(low, high - MOST_DECADES)
    return [10 ** (low + (high - low) * i / (POINTS - 1)) for i in range(POINTS)]


def _total(axes: Any, candidate: Candidate, queries: Sequence[float], style: dict[str, Any]) -> None:
    totals = [candidate.lifetime.total(n) for n in queries]
    axes.plot(
        queries, [total.value for total in totals], label=literal(candidate.model), linewidth=1.6, **style
    )
    _band(axes, queries, [(t.low, t.high) for t in totals], style)


def _ratio(
    axes: Any, candidate: Candidate, report: AmortiseReport, queries: Sequence[float], style: dict[str, Any]
) -> None:
    ratios, band = [], []
    pieces = envelope(report.costs)
    by_name = {c.model: c.lifetime for c in report.costs.candidates}
    for n in queries:
        best = by_name[[name for start, name in pieces if start <= n][-1]]
        gap = difference(candidate.lifetime, best)
        total = best.total(n).value
        half = gap.half_width(n) if best is not candidate.lifetime else 0.0
        ratios.append(1 + gap.at(n) / total)
        band.append((ratios[-1] - half / total, ratios[-1] + half / total))
    axes.plot(queries, ratios, linewidth=1.6, **style)
    _band(axes, queries, band, style)


def _band(
    axes: Any,
    queries: Sequence[float],
    band: Sequence[tuple[float | None, float | None]],
    style: dict[str, Any],
) -> None:
    if any(low is None or high is None for low, high in band):
        return
    lows, highs = zip(*band, strict=True)
    axes.fill_between(queries, lows, highs, color=style["color"], alpha=0.12, linewidth=0)
