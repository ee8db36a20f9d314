"""The files of a report: the page, the figures, the data behind them, model cards and emissions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ptprof.frame import Loaded
from ptprof.report import figures
from ptprof.report.charts import table_csv, to_csv
from ptprof.report.content import Content
from ptprof.report.page import page
from ptprof.study import write_text

PAGE = "index.html"
FIGURE_TYPES = (".svg", ".png")


def write_page(content: Content, folder: Path) -> Path:
    """The page; what it tells is in it."""
    path = folder / PAGE
    write_text(path, page(content))
    return path


def write_data(content: Content, study: Loaded | None, folder: Path) -> list[Path]:
    """The data behind every figure as CSV, the break-even points, and of a study every measurement."""
    texts = {name: to_csv(chart) for name, chart in content.charts.items()}
    if content.report is not None:
        pairs = [pair.model_dump() for pair in content.report.break_even]
        texts["break-even"] = _rows(pairs)
    if study is not None and (rows := study.rows()):
        texts["measurements"] = _rows(rows)
    return _write({f"data/{name}.csv": text for name, text in texts.items()}, folder)


def write_figures(content: Content, folder: Path) -> list[Path]:
    """Every figure as SVG and PNG."""
    drawn = []
    for name, figure in figures.figures(content.charts, content.report).items():
        drawn += [figures.save(figure, folder / "figures" / f"{name}{kind}") for kind in FIGURE_TYPES]
    return drawn


def write_cards(cards: Mapping[str, str], folder: Path) -> list[Path]:
    """A model card for each run."""
    return _write({f"cards/{safe_name(run)}.md": text for run, text in cards.items()}, folder)


def safe_name(name: str) -> str:
    """A name that stays in its folder."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def _rows(rows: list[dict[str, object]]) -> str:
    columns = list(rows[0]) if rows else []
    return table_csv(columns, [["" if v is None else v for v in row.values()] for row in rows])


def _write(texts: Mapping[str, str], folder: Path) -> list[Path]:
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
