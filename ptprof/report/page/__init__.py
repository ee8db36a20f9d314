"""The report as one page that opens from a file: style, script, figures and pictures are all within it."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ptprof import __version__
from ptprof.amortise.amortising import AmortiseReport
from ptprof.records import Interval
from ptprof.report import cells, words
from ptprof.report.charts import Chart
from ptprof.report.content import Content
from ptprof.report.format import count, listed, prefixed, significant
from ptprof.report.page import lines
from ptprof.study import now

SECTIONS = (
    ("answer", "Answer"),
    ("cost", "Cost"),
    ("parts", "Training and queries"),
    ("accuracy", "Accuracy"),
    ("pareto", "Accuracy against carbon"),
    ("runtime", "Time"),
    ("rollouts", "Rollouts"),
    ("measurements", "Measurements"),
    ("parity", "Parity"),
    ("sources", "Sources"),
    ("cite", "Cite"),
)
SCRIPTS = ("charts.js", "answer.js")
DIGITS = 5
"""Of the figures that are only drawn."""
PICTURE_WIDTH = 1200

CITATION = """@misc{{ptprof,
  title = {{ptprof: which scientific-ML forecaster is cheapest over its whole life}},
  version = {{{version}}},
  year = {{2026}}
}}
@misc{{arxiv:2509.24517,
  title = {{Physics Priors Offer Useful Accuracy-Carbon Trade-Offs in Spatio-Temporal Forecasting}},
  eprint = {{2509.24517}},
  archivePrefix = {{arXiv}},
  year = {{2025}}
}}"""


def page(content: Content) -> str:
    """The report as HTML.

    All text is escaped, and the policy in the page's head allows nothing but the script and the style that
    come with it, known by their hashes: a model's name cannot become code, nor make the page ask for things.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ptprof.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(**_context(content))


def _context(content: Content) -> dict[str, Any]:
    from markupsafe import Markup

    style, script = _own("page.css"), "".join(f"{{\n{_own(name)}}}\n" for name in SCRIPTS)
    charts = content.charts
    return {
        "version": __version__,
        "policy": _policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
        "data": Markup(_data(content)),
        "sections": SECTIONS,
        "facts": _facts(content),
        "report": content.report,
        "lacking": content.lacking,
        "charts": charts,
        "figures": {name: cells.of_chart(chart) for name, chart in charts.items() if chart.kind != "lines"},
        "texts": {name: _text(chart) for name, chart in charts.items()},
        "tables": content.tables,
        "pictures": [_picture(path) for path in content.pictures],
        "citation": CITATION.format(version=__version__),
        "made": now()[:10],
        **_answer(content.report),
    }


def _answer(report: AmortiseReport | None) -> dict[str, Any]:
    """What the page says before its script runs, and where there is none."""
    if report is None:
        return {}
    middle = len(report.queries) // 2
    queries = report.queries[middle]
    first = report.model_copy(update={"queries": (queries,), "cheapest": (report.cheapest[middle],)})
    return {
        "start": f"{math.log10(queries):.2f}",
        "queries": f"{queries:g}",
        "answer": words.answer(first)[0],
        "now": _now(report, middle),
        "basis": _basis(report),
        "words": [
            *words.answer(report),
            *words.by_point_values(report),
            *words.surrogates(report),
            *words.parity(report),
        ],
    }


def _basis(report: AmortiseReport) -> list[str]:
    """What a reader must know to read the answer right."""
    return [
        words.query(report),
        words.conversion(report),
        *words.beside(report),
        *words.caveats(report),
    ]


def _now(report: AmortiseReport, at: int) -> cells.Table:
    """The totals at one number of queries, as the script writes them."""
    best = report.cheapest[at]
    least = min(model.totals[at].total_g for model in report.models)
    marks = {best.model: "smallest"} | dict.fromkeys(best.tied_with, "not told apart")
    rows = []
    for model in report.models:
        total = model.totals[at]
        half = None if total.high is None else total.high - total.total_g
        rows.append(
            (
                model.model,
                marks.get(model.model, ""),
                prefixed(total.total_g, "g", half),
                prefixed(total.amortised_g_per_query, "g"),
                f"{total.total_g / least:.2f} ×",
            )
        )
    return cells.Table(
        caption="Training and queries together, CO2eq, at this number of queries",
        columns=("model", "verdict", "total ± 95 %", "per query", "of the smallest"),
        rows=tuple(rows),
        text=2,
    )


def _facts(content: Content) -> str:
    """What the report is of, in a sentence."""
    parts = [f"{len(content.models)} models: {listed(content.models)}."]
    if content.records:
        first = content.records[0]
        trained = listed(dict.fromkeys(record.device for record in content.records))
        parts.append(
            f"Recipe {first.recipe}, grid {first.grid[0]}×{first.grid[1]}, trained on {trained};"
            f" {len(content.measurements)} measurements."
        )
    return " ".join(parts)


def _text(chart: Chart) -> str:
    """What a chart shows, for who does not see it."""
    if chart.kind == "bars":
        figures = [f"{s.name} {prefixed(s.points[0].y.value, chart.y.unit)}" for s in chart.series]
        return f"{listed(figures)}."
    if chart.kind == "lines" and chart.x is not None and len(chart.series[0].points) > 1:
        x = [point.x.value for point in chart.series[0].points if point.x is not None]
        ends = [f"{s.name} {_value(s.points[-1].y.value, chart.y.unit)}" for s in chart.series]
        return f"At {chart.x.label.partition(' (')[0]} {count(x[-1])}: {listed(ends)}."
    return ""


def _value(value: float, unit: str) -> str:
    return prefixed(value, unit) if unit else significant(value)


def _data(content: Content) -> str:
    """What the script needs, as JSON that may stand in HTML."""
    from jinja2.utils import htmlsafe_json_dumps

    report = content.report
    return str(
        htmlsafe_json_dumps(
            {
                "queries": None if report is None else report.queries[len(report.queries) // 2],
                "models": [] if report is None else lines.models(report),
                "differences": [] if report is None else lines.differences(report),
                "charts": {name: _drawn(chart) for name, chart in content.charts.items()},
            },
            allow_nan=False,
            separators=(",", ":"),
        )
    )


def _drawn(chart: Chart) -> dict[str, Any]:
    made = chart.model_dump(mode="json", exclude={"series", "title", "caption"})
    made["series"] = [
        {
            "name": series.name,
            "style": series.style,
            "points": [
                {
                    **({} if point.x is None else {"x": _figures(point.x)}),
                    "y": _figures(point.y),
                    **({"note": point.note} if point.note else {}),
                }
                for point in series.points
            ],
        }
        for series in chart.series
    ]
    return made


def _figures(interval: Interval) -> list[float | None]:
    """Value, low and high, without the digits that nobody sees."""
    return [
        None if v is None else float(f"{v:.{DIGITS}g}") for v in (interval.value, interval.low, interval.high)
    ]


def _picture(path: Path) -> dict[str, Any]:
    """A rollout's picture, small enough for a page."""
    from PIL import Image

    field = path.stem.removeprefix("rollout-").replace("_", " ")
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((PICTURE_WIDTH, 10 * PICTURE_WIDTH))
    content = io.BytesIO()
    small.save(content, "WEBP", quality=75)
    text = f"The field {field} along a rollout: the target above, and below it what each model forecasts."
    return {
        "uri": f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}",
        "width": small.width,
        "height": small.height,
        "text": text,
        "caption": f"{text} As `ptprof evaluate` drew it last.",
    }


def _own(name: str) -> str:
    return (files("ptprof.report") / "page" / name).read_text(encoding="utf-8")


def _policy(*inline: str) -> str:
    style, script = (
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inline
    )
    rules: Sequence[str] = (
        "default-src 'none'",
        f"style-src {style}",
        f"script-src {script}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(rules)
