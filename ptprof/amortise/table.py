"""Costs measured elsewhere, from a CSV table of grams CO2eq."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ptprof import stats
from ptprof.amortise.candidate import Candidate, Costs, Item
from ptprof.amortise.lifetime import NOTHING, Cost, Lifetime, Part, scaled
from ptprof.errors import TableError

REQUIRED = ("model", "train_co2eq_kg", "inference_co2eq_g_mean", "inference_queries")
OPTIONAL = ("inference_co2eq_g_std", "repetitions")
UNIT = "unit"
GRAMS_PER_KG = 1000.0


@dataclass(frozen=True)
class _Row:
    """One line of the file, and where to point when something is wrong with it."""

    path: Path
    line: int
    cells: dict[str, str]

    def fault(self, column: str, problem: str) -> TableError:
        model = self.cells.get("model")
        name = f" ({model})" if model else ""
        return TableError(f"{self.path}, line {self.line}{name}, column {column!r}: {problem}")

    def number(self, column: str, *, above_zero: bool = False) -> float:
        text = self.cells[column]
        if not text:
            raise self.fault(column, "is empty; it must be a number")
        try:
            value = float(text)
        except ValueError:
            raise self.fault(column, f"{text!r} is not a number") from None
        if not math.isfinite(value):
            raise self.fault(column, f"{text!r} is not a finite number")
        if value < 0 or (above_zero and value == 0):
            raise self.fault(column, f"{text} must be {'above zero' if above_zero else 'zero or more'}")
        return value


def from_table(path: Path, *, tuning: float | None = None, retrain_every: float | None = None) -> Costs:
    """Read costs from a CSV with the columns of ``REQUIRED`` and, for intervals, ``OPTIONAL``.

    A query is one step, or what the column ``unit`` says in every line. It costs
    ``inference_co2eq_g_mean / inference_queries``; with a standard deviation over ``repetitions`` it has
    Student's interval of the mean. Training has no interval. The figures are grams already, with whatever
    intensity and PUE their source used. ``tuning`` and ``retrain_every`` are as in `Assumptions`.

    Raises
    ------
    TableError : a file that cannot be read, a missing column, a cell that is empty, not a finite number
        or negative, or queries of several units; the message names line and column
    """
    rows = list(_rows(path))
    if not rows:
        raise TableError(f"{path} holds no model: it needs a line for each below the column names")
    with_intervals = all(column in rows[0].cells for column in OPTIONAL)
    units = {row.cells.get(UNIT) or "one-step": row for row in rows}
    if len(units) > 1:
        a, b = list(units)[:2]
        raise units[b].fault(UNIT, f"{b!r} where another line has {a!r}: only equal queries are compared")
    candidates: dict[str, Candidate] = {}
    for row in rows:
        candidate = _candidate(row, with_intervals, tuning, retrain_every)
        if candidate.model in candidates:
            raise row.fault("model", f"{candidate.model!r} is there twice")
        candidates[candidate.model] = candidate
    notes = () if with_intervals else (f"Intervals need the columns {' and '.join(OPTIONAL)}.",)
    return Costs(
        tuple(candidates.values()), unit=next(iter(units)), intensity_g_per_kwh=None, pue=None, notes=notes
    )


def _candidate(
    row: _Row, with_intervals: bool, tuning: float | None, retrain_every: float | None
) -> Candidate:
    name = row.cells["model"]
    if not name or not name.isprintable():
        raise row.fault("model", "must be a name")
    training = row.number("train_co2eq_kg") * GRAMS_PER_KG
    queries = row.number("inference_queries", above_zero=True)
    mean = row.number("inference_co2eq_g_mean", above_zero=True)
    half_width = _half_width(row) if with_intervals else None
    per_query = mean / queries
    if not math.isfinite(per_query) or per_query == 0 or not math.isfinite(training):
        raise row.fault("inference_co2eq_g_mean", "gives a cost per query that is no usable number")
    trained = Cost((Part(training),))
    once = NOTHING if tuning is None else scaled(trained, tuning)
    items = [
        Item(what="training", paid="training", grams=training, source="given"),
        Item(what="query", paid="query", grams=per_query, source="given"),
    ]
    if tuning is not None:
        items.insert(0, Item(what="tuning", paid="once", grams=once.grams, source="assumed"))
    return Candidate(
        model=name,
        lifetime=Lifetime(
            trained,
            Cost((Part(per_query),), None if half_width is None else half_width / queries),
            once,
            retrain_every,
        ),
        source="given",
        training_source="given",
        items=tuple(items),
    )


def _half_width(row: _Row) -> float | None:
    """Student's half-width of the mean; one repetition has none, nor has a row without both figures."""
    if not row.cells["inference_co2eq_g_std"] and not row.cells["repetitions"]:
        return None
    std = row.number("inference_co2eq_g_std")
    repetitions = row.number("repetitions", above_zero=True)
    if repetitions != int(repetitions):
        raise row.fault("repetitions", f"{row.cells['repetitions']} must be a whole number")
    return stats.t_half_width(std, int(repetitions)) if repetitions > 1 else None


def _rows(path: Path) -> Iterator[_Row]:
    for line, header, cells in _lines(path):
        if len(cells) > len(header):
            raise TableError(f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}")
        padded = cells + [""] * (len(header) - len(cells))
        yield _Row(path, line, {name: cell.strip() for name, cell in zip(header, padded, strict=True)})


def _lines(path: Path) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each line that is not blank, with its number and the checked header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = _header(path, next(reader, []))
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, header, cells
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is not a text table: it must be CSV in UTF-8") from None
    except csv.Error as error:
        raise TableError(f"{path} is not a CSV table: {error}") from None


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    missing = [column for column in REQUIRED if column not in header]
    if missing:
        needs = f"it needs {', '.join(REQUIRED)}"
        raise TableError(f"{path} has no column {', '.join(map(repr, missing))}; {needs}")
    twice = [column for column in (*REQUIRED, *OPTIONAL, UNIT) if header.count(column) > 1]
    if twice:
        raise TableError(f"{path} has the column {twice[0]!r} more than once")
    return header
