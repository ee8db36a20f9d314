"""The amortisation in words, on the terminal, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from ptprof.amortise.amortising import AmortiseReport, Candidate, Costs, amortise
from ptprof.amortise.assumptions import Assumptions
from ptprof.amortise.breakeven import Cost, Lifetime, Part
from ptprof.amortise.grids import grids
from ptprof.amortise.table import from_table
from ptprof.profile.paper import TABLE2
from ptprof.report import words
from ptprof.report.amortisation import amortisation
from ptprof.report.tabular import as_csv, as_markdown


@pytest.fixture(scope="module")
def paper() -> AmortiseReport:
    return amortise(from_table(TABLE2), [1e6, 1e7])


def test_words_come_first_and_say_who_is_cheapest_and_who_cannot_be_told_apart(paper: AmortiseReport) -> None:
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(amortisation(paper))
    text = console.export_text()
    assert text.startswith(
        "At 10⁶ queries fno has the smallest total, 2.47 kg, but tfno and ufno cannot be told apart from it."
    )
    assert "then tfno from 2.067×10⁶ queries and unet from 2.172×10⁶" in text
    assert "SCI" not in text


def test_the_csv_has_a_line_for_each_model_and_number_of_queries(paper: AmortiseReport) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(paper))))
    assert len(rows) == 14
    row = next(r for r in rows if r["model"] == "tfno" and float(r["queries"]) == 1e6)
    assert (row["training_g"], row["training_source"], row["source"]) == ("1090.0", "given", "given")
    assert float(row["per_query_g"]) == pytest.approx(7.21 / 4704)
    assert float(row["total_g"]) == pytest.approx(1090 + 1e6 * 7.21 / 4704)
    assert float(row["amortised_g_per_query"]) == pytest.approx(float(row["total_g"]) / 1e6)
    assert (row["cheapest"], row["tied_with_cheapest"]) == ("no", "yes")
    assert (row["training_g_low"], row["runtime"], row["serve_pue"]) == ("", "", "")
    assert sum(r["cheapest"] == "yes" for r in rows) == 2


def test_the_csv_says_with_what_joules_became_grams(paper: AmortiseReport) -> None:
    stated = paper.model_copy(update={"assumptions": Assumptions.at(100.0, 1.2)})
    row = next(csv.DictReader(io.StringIO(as_csv(stated))))
    rates = [
        row[f"{phase}_{name}"] for phase in ("train", "serve") for name in ("intensity_g_per_kwh", "pue")
    ]
    assert rates == ["100.0", "1.2", "100.0", "1.2"]


def test_markdown_holds_the_answer_and_three_tables(paper: AmortiseReport) -> None:
    text = as_markdown(paper)
    assert text.startswith("**At 10⁶ queries fno has the smallest total, 2.47 kg")
    assert "| ufno | – | 1.12 kg | given | 1.91 ± 0.46 mg | given |" in text
    assert "| fno | **2.47 ± 0.50 kg** | 17.5 ± 5.0 kg |" in text
    assert "| tfno | 2.62 ± 0.06 kg ≈ |" in text
    assert "| unet / ufno | 1.415×10⁶ | 1.00×10⁶ – 2.40×10⁶ | ufno below, unet above |" in text
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert [len(part.splitlines()) for part in tables] == [9, 9, 23]


def test_a_named_grid_says_its_year_its_kind_and_its_source(paper: AmortiseReport) -> None:
    stated = paper.model_copy(update={"assumptions": Assumptions.at(grids()["DK"])})
    assert words.conversion(stated) == (
        "Carbon intensity 143 gCO2eq/kWh (Denmark 2024, average; the table in Carbontracker 2.4.7), PUE 1.0."
    )


def test_who_is_surely_cheaper_goes_by_all_that_is_paid() -> None:
    """unet is cheaper to train and, with what is paid once, dearer before the first query."""
    dear = Lifetime(Cost((Part(1.0),), 0.0), Cost((Part(1e-3),), 9e-4), Cost((Part(100.0),), 0.0))
    cheap = Lifetime(Cost((Part(50.0),), 0.0), Cost((Part(1e-3),), 0.0))
    both = tuple(Candidate(name, life, "given", "given") for name, life in (("unet", dear), ("fno", cheap)))
    report = amortise(Costs(both, "one-step", None, None), [1.0])
    (pair,) = report.break_even
    assert pair.verdict == "not resolved"
    assert words.verdict(report, pair).startswith("not resolved; fno surely below")
    assert words.answer(report) == ["At 1 query fno has the smallest total, 50.0 g."]


@pytest.mark.parametrize(
    ("training", "query", "half", "says"),
    [
        (100.0, 1e-3, 1e-5, "from 1.111×10⁴ queries (1.11×10⁴ – 1.11×10⁴)"),
        (100.0, 2e-2, 1e-5, "never"),
        (0.0, 1e-3, 1e-5, "at every number of queries"),
        (100.0, 9e-3, 5e-3, "from 10⁵ queries (1.67×10⁴ – ∞), by point values"),
        (100.0, 1.1e-2, 5e-3, "never, by point values"),
    ],
)
def test_when_a_surrogate_pays(training: float, query: float, half: float, says: str) -> None:
    surrogate = Lifetime(Cost((Part(training),), 0.0), Cost((Part(query),), half))
    solver = Lifetime(Cost((), 0.0), Cost((Part(1e-2),), 0.0))
    both = tuple(
        Candidate(name, life, "given", "given") for name, life in (("fno", surrogate), ("solver", solver))
    )
    report = amortise(Costs(both, "one-step", None, None), [1e6])
    assert words.surrogates(report) == [f"fno pays against simulating {says}."]
