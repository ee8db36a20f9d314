"""Numbers as people read them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.records import EnergyBreakdown, Interval
from ptprof.report import format as text

PREFIX = {"p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        (2473.02, 496.2, "2.47 ± 0.50 kg"),
        (2472.9, None, "2.47 kg"),
        (7.82313e-4, 1.58e-5, "782 ± 16 µg"),
        (0.0, None, "0 g"),
        (999.96, None, "1.00 kg"),
        (999.4, None, "999 g"),
        (12.5, 0.0004, "12.5 ± <0.1 g"),
        (12.5, 0.0, "12.5 ± 0.0 g"),
        (5e-20, None, "0.0000000500 pg"),
        (None, None, "–"),
    ],
)
def test_prefixed(value: float | None, half: float | None, shown: str) -> None:
    assert text.prefixed(value, "g", half) == shown


@given(st.floats(1e-11, 1e14))
def test_a_prefixed_figure_reads_back_to_three_digits(value: float) -> None:
    match = re.fullmatch(r"([\d.]+) (\D?)J", text.prefixed(value, "J"))
    assert match is not None
    number, prefix = match.groups()
    assert float(number) * PREFIX[prefix] == pytest.approx(value, rel=5.1e-3)
    assert 1 <= float(number) < 1000


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1e6, "10⁶"),
        (1e4, "10⁴"),
        (1_414_736.84, "1.415×10⁶"),
        (2.5e6, "2.5×10⁶"),
        (9_999.99e3, "1.000×10⁷"),
        (1234.5, "1,234"),
        (3.25, "3.25"),
        (None, "–"),
    ],
)
def test_count(value: float | None, shown: str) -> None:
    assert text.count(value) == shown


@given(st.floats(1, 1e18))
def test_a_count_reads_back_to_four_digits(value: float) -> None:
    shown = text.count(value).replace(",", "")
    mantissa, _, exponent = shown.rpartition("10") if "10" in shown and value >= 1e4 else (shown, "", "0")
    number = float(mantissa.rstrip("×") or 1) * 10.0 ** int(exponent.translate(DIGITS))
    assert number == pytest.approx(value, rel=5.1e-3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00123, "1.23 ms"),
        (61.2, "61.2 s"),
        (200, "3 min 20 s"),
        (3599.8, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_seconds(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (512, "512 B"), (300 << 20, "300 MiB"), (1000 << 20, "0.977 GiB")]
)
def test_size(value: int | None, shown: str) -> None:
    assert text.size(value) == shown


def test_interval_without_bounds_is_the_figure_alone() -> None:
    assert text.interval(Interval(value=3.0), "s") == "3.00 s"
    assert text.interval(Interval(value=3.0, low=2.5, high=3.5), "s") == "3.00 ± 0.50 s"


def test_energy_sums_the_components_that_are_there(make_energy) -> None:  # type: ignore[no-untyped-def]
    both = EnergyBreakdown(
        gpu=make_energy(30.0, half=3.0), cpu=make_energy(10.0, half=4.0, source="modelled")
    )
    assert text.energy(both) == "40.0 ± 5.0 J"
    assert text.sources(both.present.values()) == "measured + modelled"
    assert text.energy(EnergyBreakdown(missing={"cpu": "no"})) == "–"


def test_listed() -> None:
    assert text.listed(["a"]) == "a"
    assert text.listed(["a", "b", "c"]) == "a, b and c"


def test_tiny_and_significant() -> None:
    assert text.tiny(3.14159e-7) == "3.1e-07"
    assert text.significant(1234.0) == "1230"
    assert text.significant(math.inf) == "inf"
