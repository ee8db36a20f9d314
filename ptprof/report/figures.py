"""Figures for a paper, drawn by matplotlib from the same values as the page's."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ptprof.amortise.amortising import AmortiseReport, envelope
from ptprof.plots import line_styles, literal, new_figure, save
from ptprof.report import cost_charts, words
from ptprof.report.accuracy import MARKERS, REFERENCE
from ptprof.report.charts import Axis, Chart, Mark, Series
from ptprof.report.cost_charts import WORST_RATIO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cost_against_queries", "figure", "figures", "save"]

DARK = "#222222"
SHORT = 100.0
"""Of a logarithmic axis: from its one end to the other."""
LONGEST_NAME = 24


def figures(charts: Mapping[str, Chart], report: AmortiseReport | None) -> dict[str, Figure]:
    """Every chart as a figure, by name; the totals and their ratios are two panels of one."""
    drawn = {
        name: figure(chart)
        for name, chart in charts.items()
        if name not in ("cost-against-queries", "times-the-cheapest")
    }
    if report is not None:
        drawn["cost-against-queries"] = cost_against_queries(report)
    return drawn


def figure(chart: Chart) -> Figure:
    """One chart."""
    tall = 0.7 + 0.32 * len(chart.series) if chart.kind == "bars" else 3.6
    made, axes = new_figure(5.6, tall)
    if chart.kind == "bars":
        _bars(axes, chart)
        return made
    for series in chart.series:
        _line(axes, series) if chart.kind == "lines" else _marks(axes, series)
    _scales(axes, chart)
    length = 3.4 if chart.kind == "lines" else 1.0
    made.legend(loc="outside lower center", ncols=4, fontsize=8, handlelength=length)
    return made


def cost_against_queries(report: AmortiseReport) -> Figure:
    """Two panels over a common axis, both with 95 % bands.

    Above, the total of each model, both axes logarithmic. Below, how many times the cheapest it costs,
    where the lines part and errors that two models share cancel: a band that reaches 1 means that the
    model cannot be told from the cheapest.
    """
    made, (above, below) = new_figure(8.0, 7.0, nrows=2, sharex=True, height_ratios=(3, 2))
    charts = cost_charts.cost(report), cost_charts.ratio(report)
    for axes, chart in zip((above, below), charts, strict=True):
        for series in chart.series:
            _line(axes, series, marked=False)
        for start, _ in envelope(report.costs)[1:]:
            axes.axvline(start, color="#555555", linewidth=0.8)
        _scales(axes, chart)
    for mark in charts[0].marks:
        _mark(above, mark)
    above.set_xlabel("")
    above.legend(loc="upper left", ncols=2)
    above.set_title(_wrapped(words.answer(report), 115), fontsize=9, loc="left")
    queries = [point.x.value for point in charts[0].series[0].points if point.x is not None]
    below.set(xlim=(queries[0], queries[-1]), ylim=(0.9, min(below.get_ylim()[1], WORST_RATIO)))
    made.supxlabel(_wrapped(_footer(report, charts[0]), 130), fontsize=7.5, x=0.01, ha="left")
    return made


def _footer(report: AmortiseReport, chart: Chart) -> list[str]:
    return [
        *words.by_point_values(report),
        chart.caption,
        words.query(report),
        words.conversion(report),
        *words.caveats(report),
    ]


def _wrapped(lines: Sequence[str], width: int) -> str:
    return "\n".join(textwrap.fill(literal(line), width) for line in lines)


def _scales(axes: Any, chart: Chart) -> None:
    for axis, name in ((chart.x, "x"), (chart.y, "y")):
        if axis is None:
            continue
        axes.set(**{f"{name}label": literal(axis.label), f"{name}scale": "log" if axis.log else "linear"})
        _ticks(getattr(axes, f"{name}axis"), axis)
        if axis.least is not None or axis.most is not None:
            low, high = getattr(axes, f"get_{name}lim")()
            low = low if axis.least is None else max(low, axis.least)
            axes.set(**{f"{name}lim": (low, high if axis.most is None else min(high, axis.most))})


def _ticks(ticks: Any, axis: Axis) -> None:
    """Ticks with the unit and its prefix, where the axis has one; a short logarithmic axis has more."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    if axis.log:
        low, high = ticks.get_view_interval()
        short = high / low < SHORT
        ticks.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if short else (1,), numticks=12))
        ticks.set_minor_formatter(NullFormatter())
    if axis.unit or (axis.log and short):
        ticks.set_major_formatter(EngFormatter(axis.unit) if axis.unit else "{x:g}")
    elif not axis.log:
        ticks.get_major_locator().set_params(integer=axis.whole)


def _name(series: Series) -> str:
    """What stands in a legend, however long the name is."""
    name = series.name
    return literal(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…")


def _style(series: Series) -> dict[str, Any]:
    """Colour and dash, as on the page."""
    if series.style < 0:
        return REFERENCE
    styles = line_styles()
    return [next(styles) for _ in range(series.style + 1)][-1] | {"linewidth": 1.6}


def _line(axes: Any, series: Series, marked: bool = True) -> None:
    x = [math.nan if point.x is None else point.x.value for point in series.points]
    style = _style(series)
    every = max(1, len(x) // 5)
    marker: dict[str, Any] = {}
    if marked and series.style >= 0:
        marker = {
            "marker": MARKERS[series.style % len(MARKERS)],
            "markersize": 4,
            "markevery": (min(len(x) - 1, every - 1), every),
        }
    axes.plot(x, [point.y.value for point in series.points], label=_name(series), **style, **marker)
    lows, highs = ([getattr(point.y, end) for point in series.points] for end in ("low", "high"))
    if None not in lows and None not in highs:
        axes.fill_between(x, lows, highs, color=style["color"], alpha=0.12, linewidth=0)


def _marks(axes: Any, series: Series) -> None:
    points = series.points
    style = _style(series)
    axes.errorbar(
        [math.nan if point.x is None else point.x.value for point in points],
        [point.y.value for point in points],
        xerr=_errors([point.x for point in points]),
        yerr=_errors([point.y for point in points]),
        label=_name(series),
        color=style["color"],
        marker=MARKERS[series.style % len(MARKERS)],
        markersize=6,
        linestyle="none",
        elinewidth=0.9,
    )


def _bars(axes: Any, chart: Chart) -> None:
    points = [series.points[0] for series in chart.series]
    places = range(len(points))
    axes.barh(
        places,
        [point.y.value for point in points],
        xerr=_errors([point.y for point in points]),
        color=[_style(series)["color"] for series in chart.series],
        alpha=0.75,
        capsize=3,
        ecolor=DARK,
        error_kw={"elinewidth": 1.0},
    )
    axes.set_yticks(places, [_name(series) for series in chart.series])
    axes.invert_yaxis()
    axes.set_xlabel(literal(chart.y.label))
    _ticks(axes.xaxis, chart.y)
    axes.grid(visible=False, axis="y")


def _mark(axes: Any, mark: Mark) -> None:
    """Where two lines cross, filled where the intervals say so too."""
    fill = DARK if mark.sure else "white"
    axes.plot(mark.x, mark.y, "o", markersize=4, color=DARK, markerfacecolor=fill, zorder=5)


def _errors(figures: Sequence[Any]) -> list[list[float]] | None:
    """Distances down and up of each interval; none where one has none."""
    if any(figure is None or figure.low is None or figure.high is None for figure in figures):
        return None
    return [[f.value - f.low for f in figures], [f.high - f.value for f in figures]]
