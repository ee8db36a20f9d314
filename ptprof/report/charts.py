"""Figures as values: drawn by the page in the browser, by matplotlib for a paper, and written as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Literal

from ptprof.records import Interval, Value

REFERENCE = -1
"""The style of what models are compared with: a thick grey line."""


class Axis(Value):
    """What an axis shows, in ``unit``s with SI prefixes where there is one, from ``least`` to ``most``;
    ``whole`` numbers only, or logarithmic.

    ``column`` names it in CSV, with its unit.
    """

    label: str
    column: str
    unit: str = ""
    log: bool = False
    whole: bool = False
    least: float | None = None
    most: float | None = None


class Point(Value):
    """A figure of a series: ``x`` and ``y`` with their intervals; ``note`` says which one it is."""

    x: Interval | None = None
    y: Interval
    note: str = ""


class Series(Value):
    """Points of one name. ``style`` is the place of its colour, dash and marker in `ptprof.plots`."""

    name: str
    style: int
    points: tuple[Point, ...]


class Mark(Value):
    """A point of note on a chart; hollow unless ``sure``."""

    x: float
    y: float
    label: str
    sure: bool


class Chart(Value):
    """One figure. ``bars`` have a series for each bar and no ``x``; ``caption`` says what to see in it."""

    name: str
    title: str
    kind: Literal["lines", "bars", "points"]
    x: Axis | None = None
    y: Axis
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    caption: str = ""


def to_csv(chart: Chart) -> str:
    """The data behind a figure, a row for each point, with the figures as they were computed."""
    axes = [axis for axis in (chart.x, chart.y) if axis is not None]
    columns = [f"{axis.column}{end}" for axis in axes for end in ("", "_low", "_high")]
    rows = [
        ("" if cell is None else cell for cell in (series.name, point.note, *_figures(point, len(axes))))
        for series in chart.series
        for point in series.points
    ]
    return table_csv(["name", "note", *columns], rows)


def _figures(point: Point, axes: int) -> list[float | None]:
    both = (point.x or Interval(value=0), point.y)[-axes:]
    return [figure for interval in both for figure in (interval.value, interval.low, interval.high)]


def table_csv(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV (RFC 4180 but for the line ends)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
