"""The picture of an amortisation: what it draws, and that it is written whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptprof.amortise.amortising import AmortiseReport, Costs, amortise
from ptprof.amortise.table import from_table
from ptprof.errors import UsageError
from ptprof.profile.paper import TABLE2
from ptprof.report import figures


@pytest.fixture(scope="module")
def report() -> AmortiseReport:
    return amortise(from_table(TABLE2), [1e4, 1e6, 1e7])


def test_the_lines_are_the_totals_and_the_multiples_of_the_cheapest(report: AmortiseReport) -> None:
    above, below = figures.cost_against_queries(report).axes
    lines = {
        line.get_label(): line for line in above.get_lines() if not str(line.get_label()).startswith("_")
    }
    assert list(lines) == [model.model for model in report.models]
    queries, totals = lines["ufno"].get_data()
    assert np.allclose(totals, 1120 + np.asarray(queries) * 9.0 / 4704)
    assert queries[0] <= 1e4
    assert queries[-1] >= 1e7
    assert above.get_xscale() == above.get_yscale() == "log"
    drawn = [line.get_ydata() for line in below.get_lines() if len(line.get_xdata()) == len(queries)]
    assert len(drawn) == 7
    assert np.allclose(np.min(drawn, axis=0), 1.0)


def test_break_even_points_lie_where_the_report_says(report: AmortiseReport) -> None:
    above, _ = figures.cost_against_queries(report).axes
    dots = {line.get_xdata()[0]: line for line in above.get_lines() if line.get_marker() == "o"}
    assert set(dots) == {pair.queries for pair in report.break_even if pair.queries is not None}
    for pair in report.break_even:
        if pair.queries is not None:
            hollow = dots[pair.queries].get_markerfacecolor() == "white"
            assert hollow == (pair.verdict == "not resolved")


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
def test_a_figure_is_saved_as_its_name_says(
    report: AmortiseReport, tmp_path: Path, name: str, begins: bytes
) -> None:
    path = figures.save(figures.cost_against_queries(report), tmp_path / "new" / name)
    assert path.read_bytes().startswith(begins)
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_another_ending_is_refused_and_nothing_written(report: AmortiseReport, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png"):
        figures.save(figures.cost_against_queries(report), tmp_path / "figure.jpeg")
    assert list(tmp_path.iterdir()) == []


def test_the_same_figures_give_the_same_bytes(report: AmortiseReport, tmp_path: Path) -> None:
    first, second = (
        figures.save(figures.cost_against_queries(report), tmp_path / name) for name in ("1.svg", "2.svg")
    )
    assert first.read_bytes() == second.read_bytes()


def test_names_with_dollars_are_drawn_as_they_are(tmp_path: Path) -> None:
    table = tmp_path / "costs.csv"
    header = "model,train_co2eq_kg,inference_co2eq_g_mean,inference_queries"
    table.write_text(f"{header}\n$\\frac$,1,2,10\nb,2,1,10\n")
    report = amortise(from_table(table), [10.0])
    drawn = figures.save(figures.cost_against_queries(report), tmp_path / "a.svg").read_text("utf-8")
    assert "$\\frac$" in drawn


def test_one_model_can_be_drawn(report: AmortiseReport) -> None:
    alone = amortise(Costs(report.costs.candidates[:1], "one-step", 445.0, 1.0), [1e6])
    _, below = figures.cost_against_queries(alone).axes
    assert np.allclose(below.get_lines()[0].get_ydata(), 1.0)


def test_matplotlib_is_loaded_only_when_a_figure_is_drawn() -> None:
    script = (
        "import sys, ptprof.plots, ptprof.report.figures, ptprof.report.tables, ptprof.amortise.costs\n"
        "assert not {'matplotlib', 'torch', 'onnxruntime'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
