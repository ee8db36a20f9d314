"""Every number of docs/paper-table.md follows from the paper's table."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from ptprof import stats
from ptprof.amortise.amortising import AmortiseReport, amortise
from ptprof.amortise.table import from_table
from ptprof.profile.paper import TABLE2
from ptprof.report.tabular import as_markdown

PAGE = Path(__file__).parents[2] / "docs" / "paper-table.md"
NAMES = {"UNet": "unet", "UNet-CN": "unet-cn", "UNet-CP": "unet-cp", "UNet-CN-CP": "unet-cn-cp"}
UNETS, SPECTRAL = tuple(NAMES.values()), ("fno", "tfno", "ufno")
EXPONENTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
POWER = re.compile(r"(?:(\d+(?:\.\d+)?)×)?10([⁰¹²³⁴⁵⁶⁷⁸⁹]+)")


@pytest.fixture(scope="module")
def report() -> AmortiseReport:
    return amortise(from_table(TABLE2), [1e4, 1e5, 1e6, 1e7])


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def point(report: AmortiseReport, a: str, b: str) -> float | None:
    return next(pair.queries for pair in report.break_even if {pair.a, pair.b} == {a, b})


def counts(report: AmortiseReport) -> Iterator[float]:
    """Every number of queries that the answer holds."""
    yield from report.queries
    for pair in report.break_even:
        yield from (n for n in (pair.queries, pair.low, pair.high) if n is not None)
    for model in report.models:
        if model.parity_queries is not None:
            yield model.parity_queries.value


def test_the_tables_are_the_commands(report: AmortiseReport, page: str) -> None:
    tables = [part.strip() for part in as_markdown(report).split("\n\n") if part.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert table in page


def test_every_number_of_queries_is_one_of_the_answer(report: AmortiseReport, page: str) -> None:
    known = list(counts(report))
    prose = "\n".join(line for line in page.splitlines() if not line.startswith("|"))
    found = POWER.findall(prose)
    assert len(found) > 25
    for mantissa, exponent in found:
        digits = len(mantissa.replace(".", "")) if mantissa else 1
        number = float(mantissa or 1) * 10.0 ** int(exponent.translate(EXPONENTS))
        rounded = {float(f"{n:.{digits - 1}e}") for n in known}
        assert any(number == pytest.approx(n, rel=1e-12) for n in rounded), (mantissa, exponent)


@pytest.mark.parametrize("unet", NAMES)
def test_the_page_says_from_where_a_unet_overtakes(unet: str, report: AmortiseReport, page: str) -> None:
    flat = " ".join(page.split())
    crossings = {name: point(report, NAMES[unet], name) for name in SPECTRAL}
    if unet == "UNet-CN":
        assert crossings["tfno"] is None
        assert (
            "UFNO from 1.373×10⁷, FNO from 1.839×10⁸, both not resolved by the intervals; TFNO never" in flat
        )
        assert (crossings["ufno"], crossings["fno"]) == pytest.approx((1.373e7, 1.839e8), rel=5e-4)
        verdicts = {p.b: p.verdict for p in report.break_even if p.a == "unet-cn" and p.b in SPECTRAL}
        assert verdicts == {"fno": "not resolved", "ufno": "not resolved", "tfno": "b always cheaper"}
        return
    for name, queries in crossings.items():
        assert queries is not None
        mantissa = f"{queries / 1e6:.3f}×10⁶"
        assert f"{name.upper()} from {mantissa}" in flat or f"{mantissa} ({name.upper()})" in flat


def test_below_the_first_crossing_every_spectral_model_beats_every_unet(report: AmortiseReport) -> None:
    first = min(n for a in UNETS for b in SPECTRAL if (n := point(report, a, b)) is not None)
    assert first == pytest.approx(1.4e6, rel=0.02)
    by_name = {model.model: model.lines for model in report.models}
    for queries in (1.0, 1e3, 1e5, 0.999 * first):
        totals = {name: line.training_g + queries * line.per_query_g for name, line in by_name.items()}
        assert max(totals[name] for name in SPECTRAL) < min(totals[name] for name in UNETS)


def test_what_else_the_page_says(report: AmortiseReport, page: str) -> None:
    flat = " ".join(page.split())
    verdicts = Counter(
        pair.verdict.replace("a always", "always").replace("b always", "always") for pair in report.break_even
    )
    assert verdicts == {"crosses": 10, "always cheaper": 6, "not resolved": 5}
    assert "Of the 21 pairs 10 cross" in flat
    assert "6 are surely in one order at every number of queries, and 5 are not resolved" in flat
    training = {model.model: model.training_g.value for model in report.models}
    ratios = [training[a] / training[b] for a in UNETS for b in SPECTRAL]
    assert f"{min(ratios):.1f} to {max(ratios):.1f} times less to train" in flat
    with TABLE2.open(encoding="utf-8", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    spreads = {}
    for name in ("fno", "ufno"):
        mean, std = (float(rows[name][f"inference_co2eq_g_{what}"]) for what in ("mean", "std"))
        spreads[name] = (round(100 * std / mean), round(100 * stats.t_half_width(std, 3) / mean))
    assert spreads == {"fno": (12, 30), "ufno": (10, 24)}
    assert "FNO and UFNO, 12 % and 10 %, become half-widths of 30 % and 24 %" in flat
    ufno = point(report, "unet", "ufno")
    assert ufno is not None
    assert f"the paper's test set {round(ufno / 4704)} times over" in flat
    grams, minutes = float(rows["unet"]["inference_co2eq_g_mean"]), float(rows["unet"]["inference_minutes"])
    watts = grams / 445 * 3.6e6 / (60 * minutes)
    assert f"{grams} g in {minutes} min at 445 g/kWh would be {watts:.0f} W" in flat


def test_the_cheapest_unet_is_the_plain_one_everywhere(report: AmortiseReport) -> None:
    for a, b in combinations(UNETS, 2):
        verdict = next(pair.verdict for pair in report.break_even if (pair.a, pair.b) == (a, b))
        assert a != "unet" or verdict == "a always cheaper"
