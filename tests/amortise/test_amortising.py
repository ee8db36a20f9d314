"""The report of an amortisation: the paper's table worked by hand, and its JSON document."""

from __future__ import annotations

import json

import pytest

from ptprof.amortise.amortising import (
    AmortiseReport,
    Candidate,
    Costs,
    amortise,
    envelope,
    parse_queries,
)
from ptprof.amortise.breakeven import Cost, Lifetime, Part
from ptprof.amortise.table import from_table
from ptprof.errors import UsageError
from ptprof.profile.paper import TABLE2

QUERIES = (1e4, 1e5, 1e6, 1e7)
T_2 = 4.302652729749464  # Student's t, 2 degrees of freedom, 95 %
#: Every crossing of Table 2 worked from its printed figures: difference of training over that of a query.
CROSSINGS = {
    ("unet", "fno"): (2720 - 800) * 4704 / (7.87 - 3.68),
    ("unet", "tfno"): (2720 - 1090) * 4704 / (7.21 - 3.68),
    ("unet", "ufno"): (2720 - 1120) * 4704 / (9.00 - 3.68),
    ("unet-cn", "unet-cn-cp"): (5890 - 4710) * 4704 / (7.77 - 4.87),
    ("unet-cn", "fno"): (4710 - 800) * 4704 / (7.87 - 7.77),
    ("unet-cn", "ufno"): (4710 - 1120) * 4704 / (9.00 - 7.77),
    ("unet-cp", "fno"): (3810 - 800) * 4704 / (7.87 - 4.06),
    ("unet-cp", "tfno"): (3810 - 1090) * 4704 / (7.21 - 4.06),
    ("unet-cp", "ufno"): (3810 - 1120) * 4704 / (9.00 - 4.06),
    ("unet-cn-cp", "fno"): (5890 - 800) * 4704 / (7.87 - 4.87),
    ("unet-cn-cp", "tfno"): (5890 - 1090) * 4704 / (7.21 - 4.87),
    ("unet-cn-cp", "ufno"): (5890 - 1120) * 4704 / (9.00 - 4.87),
    ("fno", "tfno"): (1090 - 800) * 4704 / (7.87 - 7.21),
}


@pytest.fixture(scope="module")
def paper() -> AmortiseReport:
    return amortise(from_table(TABLE2), QUERIES)


def test_the_table_shipped_is_the_papers() -> None:
    lines = TABLE2.read_text(encoding="utf-8").splitlines()
    assert lines[5] == "fno,0.80,4.0,12,67,7.87,0.94,2.0,4704,3"
    assert len(lines) == 8


def test_cheapest_at_each_number_of_queries(paper: AmortiseReport) -> None:
    assert [(c.queries, c.model, c.tied_with) for c in paper.cheapest] == [
        (1e4, "fno", ()),
        (1e5, "fno", ()),
        (1e6, "fno", ("tfno", "ufno")),
        (1e7, "unet", ()),
    ]


def test_the_envelope_is_fno_then_tfno_then_unet(paper: AmortiseReport) -> None:
    starts, models = zip(*envelope(paper.costs), strict=True)
    assert models == ("fno", "tfno", "unet")
    assert starts == pytest.approx((0, 2.067e6, 2.172e6), rel=2e-4)


def test_every_pair_crosses_where_worked_by_hand(paper: AmortiseReport) -> None:
    names = [model.model for model in paper.models]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    assert [(p.a, p.b) for p in paper.break_even] == pairs
    found = {(p.a, p.b): p.queries for p in paper.break_even if p.queries is not None}
    assert found == pytest.approx(CROSSINGS)
    assert found["unet", "ufno"] == pytest.approx(1.415e6, rel=2e-4)


def test_verdicts_are_judged_by_the_intervals(paper: AmortiseReport) -> None:
    verdicts = {(p.a, p.b): p for p in paper.break_even}
    fno_tfno = verdicts["fno", "tfno"]
    assert (fno_tfno.verdict, fno_tfno.cheaper_below, fno_tfno.high) == ("not resolved", "fno", None)
    half = T_2 / 3**0.5 * (0.94**2 + 0.12**2) ** 0.5
    assert fno_tfno.low == pytest.approx(290 * 4704 / (0.66 + half), rel=1e-9)
    ufno = verdicts["unet", "ufno"]
    half = T_2 / 3**0.5 * (0.88**2 + 0.03**2) ** 0.5
    assert ufno.verdict == "crosses"
    assert (ufno.low, ufno.high) == pytest.approx((1600 * 4704 / (5.32 + half), 1600 * 4704 / (5.32 - half)))
    assert ufno.cheaper_below == "ufno"
    assert verdicts["unet", "unet-cn"].verdict == "a always cheaper"
    assert verdicts["unet-cn", "tfno"].verdict == "b always cheaper"
    assert verdicts["fno", "ufno"].verdict == "not resolved"
    assert verdicts["fno", "ufno"].queries is None


def test_training_counts_as_exact_and_a_query_has_students_interval(paper: AmortiseReport) -> None:
    fno = next(model for model in paper.models if model.model == "fno")
    assert fno.training_g.model_dump() == {"value": 800.0, "low": None, "high": None}
    half = T_2 * 0.94 / 3**0.5 / 4704
    assert fno.per_query_g.value == pytest.approx(7.87 / 4704)
    assert fno.per_query_g.high == pytest.approx(7.87 / 4704 + half)
    total = fno.totals[2]
    assert total.total_g == pytest.approx(800 + 1e6 * 7.87 / 4704)
    assert total.high == pytest.approx(total.total_g + 1e6 * half)
    assert total.amortised_g_per_query == pytest.approx(total.total_g / 1e6)


def test_the_json_document(paper: AmortiseReport) -> None:
    document = json.loads(json.dumps(paper.model_dump(mode="json"), allow_nan=False))
    assert list(document) == [
        "queries",
        "unit",
        "intensity_g_per_kwh",
        "pue",
        "models",
        "break_even",
        "cheapest",
        "envelope",
        "pareto",
        "assumptions",
        "notes",
    ]
    assert document["queries"] == list(QUERIES)
    assert (document["unit"], document["intensity_g_per_kwh"], document["pue"]) == ("one-step", None, None)
    model = document["models"][0]
    assert list(model) == [
        "model",
        "runtime",
        "device",
        "batch",
        "source",
        "training_source",
        "projected",
        "components",
        "training_g",
        "per_query_g",
        "totals",
        "once_g",
        "items",
        "parity_queries",
        "error",
        "lines",
    ]
    assert (model["model"], model["source"], model["runtime"]) == ("unet", "given", None)
    assert list(model["per_query_g"]) == ["value", "low", "high"]
    assert list(model["totals"][0]) == ["queries", "total_g", "low", "high", "amortised_g_per_query"]
    keys = ["a", "b", "queries", "low", "high", "verdict", "cheaper_below"]
    keys += ["bootstrap_low", "bootstrap_high", "difference"]
    assert list(document["break_even"][0]) == keys
    assert document["cheapest"][2] == {"queries": 1e6, "model": "fno", "tied_with": ["tfno", "ufno"]}


def test_intensity_scales_the_grams_and_cancels_in_the_comparison(paper: AmortiseReport) -> None:
    factor = 3.7
    scaled = Costs(
        tuple(
            Candidate(
                model=c.model,
                lifetime=Lifetime(
                    _scaled(c.lifetime.training, factor), _scaled(c.lifetime.per_query, factor)
                ),
                source=c.source,
                training_source=c.training_source,
            )
            for c in paper.costs.candidates
        ),
        unit="one-step",
        intensity_g_per_kwh=None,
        pue=None,
    )
    other = amortise(scaled, QUERIES)
    for ours, theirs in zip(paper.break_even, other.break_even, strict=True):
        points = [(pair.queries or 0.0, pair.low or 0.0, pair.high or 0.0) for pair in (ours, theirs)]
        assert points[1] == pytest.approx(points[0], rel=1e-9)
        assert (theirs.verdict, theirs.cheaper_below) == (ours.verdict, ours.cheaper_below)
    assert other.cheapest == paper.cheapest
    assert other.models[0].totals[0].total_g == pytest.approx(factor * paper.models[0].totals[0].total_g)


def _scaled(cost: Cost, factor: float) -> Cost:
    parts = tuple(Part(p.grams * factor, p.systematic, p.gain_id) for p in cost.parts)
    return Cost(parts, None if cost.random is None else cost.random * factor)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e6", 1e6), ("1000000", 1e6), ("1_000_000", 1e6), (" 2.5e3 ", 2500.0), ("1", 1.0), ("+7", 7.0)],
)
def test_numbers_of_queries_that_are_read(text: str, number: float) -> None:
    assert parse_queries(text) == number


@pytest.mark.parametrize(
    "text", ["-5", "abc", "0", "nan", "inf", "-inf", "", "1e400", "0.5", "1e19", "1,000", "0x10", "1e6 2"]
)
def test_numbers_of_queries_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_queries(text)
    assert repr(text) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_amortise_asks_for_a_number_of_queries(paper: AmortiseReport) -> None:
    with pytest.raises(UsageError, match="--queries"):
        amortise(paper.costs, [])
    with pytest.raises(UsageError, match="nan"):
        amortise(paper.costs, [float("nan")])


def test_a_number_given_twice_is_answered_once(paper: AmortiseReport) -> None:
    assert amortise(paper.costs, [1e6, 1e4, 1e6]).queries == (1e6, 1e4)


def test_one_model_alone_has_no_pairs(paper: AmortiseReport) -> None:
    alone = Costs(paper.costs.candidates[:1], "one-step", None, None)
    report = amortise(alone, [1e6])
    assert report.break_even == ()
    assert report.cheapest[0].tied_with == ()
