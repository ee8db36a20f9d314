"""Published figures: every pair of the paper's Table 2, its envelope, and parity counts of Luccioni et al."""

from __future__ import annotations

import csv
from fractions import Fraction
from itertools import combinations, pairwise

import pytest

from ptprof.amortise.amortising import AmortiseReport, Costs, amortise
from ptprof.amortise.breakeven import Cost, Lifetime, Part, parity
from ptprof.amortise.table import from_table
from ptprof.profile.paper import TABLE2

Line = tuple[Fraction, Fraction]


@pytest.fixture(scope="module")
def lines() -> dict[str, Line]:
    """Grams of training and of a query, exactly as printed in the table."""
    with TABLE2.open(encoding="utf-8", newline="") as file:
        return {
            row["model"]: (
                Fraction(row["train_co2eq_kg"]) * 1000,
                Fraction(row["inference_co2eq_g_mean"]) / Fraction(row["inference_queries"]),
            )
            for row in csv.DictReader(file)
        }


@pytest.fixture(scope="module")
def report() -> AmortiseReport:
    return amortise(from_table(TABLE2), [1e6])


def test_every_pair_costs_the_same_where_its_lines_say(
    lines: dict[str, Line], report: AmortiseReport
) -> None:
    expected = {}
    for a, b in combinations(lines, 2):
        (training_a, query_a), (training_b, query_b) = lines[a], lines[b]
        crossing = (training_b - training_a) / (query_a - query_b)
        expected[a, b] = float(crossing) if crossing > 0 else None
    found = {(pair.a, pair.b): pair.queries for pair in report.break_even}
    assert list(found) == list(expected)
    assert len(found) == 21
    for pair, queries in expected.items():
        assert found[pair] == (None if queries is None else pytest.approx(queries, rel=1e-12)), pair


def test_the_envelope_is_the_cheapest_at_every_count(lines: dict[str, Line], report: AmortiseReport) -> None:
    crossings = sorted(
        crossing
        for (ta, qa), (tb, qb) in combinations(lines.values(), 2)
        if (crossing := (tb - ta) / (qa - qb)) > 0
    )
    edges = [Fraction(1), *crossings, Fraction(10**12)]
    between = [(low + high) / 2 for low, high in pairwise(edges)]
    for queries in between:
        cheapest = min(lines, key=lambda model: lines[model][0] + queries * lines[model][1])
        (piece,) = [p for p in report.envelope if p.from_queries <= float(queries) < p.to_queries]
        assert piece.model == cheapest
    assert [piece.model for piece in report.envelope] == ["fno", "tfno", "unet"]
    assert (report.envelope[0].from_queries, report.envelope[-1].to_queries) == (1.0, 1e12)
    switches = [(p.switch_verdict, p.switch_low is None, p.switch_high is None) for p in report.envelope[1:]]
    assert switches == [("not resolved", False, True), ("crosses", False, False)]


@pytest.mark.parametrize(
    ("training_kwh", "fine_tuning_kwh", "per_query_kwh", "printed"),
    [
        (51_686, 7_571, 1.0e-4, 592_570_000),
        (25_634, 3_242, 7.3e-5, 395_602_740),
        (17_052, 1_081, 6.2e-5, 292_467_741),
        (10_505, 543, 5.4e-5, 204_592_592),
    ],
)
def test_parity_of_training_and_inference(
    training_kwh: float, fine_tuning_kwh: float, per_query_kwh: float, printed: int
) -> None:
    """Table 5 of Luccioni, Jernite and Strubell, arXiv:2311.16863: BLOOMz of 7, 3, 1.7 and 0.56 billion."""
    trained = Cost((Part(training_kwh), Part(fine_tuning_kwh)))
    life = Lifetime(trained, Cost((Part(per_query_kwh),)))
    found = parity(life)
    assert found is not None
    assert found.value == pytest.approx(printed, rel=1e-3)
    assert (found.low, found.high) == (None, None)


def test_parity_of_the_table_has_students_interval(report: AmortiseReport) -> None:
    fno = next(model for model in report.models if model.model == "fno")
    half = 4.302652729749464 * 0.94 / 3**0.5
    assert fno.parity_queries is not None
    assert fno.parity_queries.model_dump() == pytest.approx(
        {"value": 800 * 4704 / 7.87, "low": 800 * 4704 / (7.87 + half), "high": 800 * 4704 / (7.87 - half)}
    )


def test_nothing_to_outweigh_is_no_parity() -> None:
    assert parity(Lifetime(Cost((Part(0.0),)), Cost((Part(1e-3),), 0.0))) is None


def test_one_model_alone_is_the_envelope(report: AmortiseReport) -> None:
    alone = amortise(Costs(report.costs.candidates[:1], "one-step", None, None), [1e6])
    (piece,) = alone.envelope
    assert (piece.from_queries, piece.to_queries, piece.model, piece.switch_verdict) == (
        1.0,
        1e12,
        "unet",
        None,
    )
