"""Intervals against tables, and their coverage of the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as peer

from ptprof.stats import (
    fieller,
    geometric_interval,
    grouped_interval,
    median_interval,
    pareto_front,
    quadrature,
    t_half_width,
    t_interval,
    t_quantile,
)

FIGURES = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))
HALF_WIDTHS = st.floats(0, 1e3).map(lambda x: round(x, 6))


@pytest.mark.parametrize(
    ("degrees", "confidence", "quantile"),
    [(1, 0.95, 12.706), (2, 0.95, 4.303), (4, 0.95, 2.776), (9, 0.99, 3.250), (30, 0.90, 1.697)],
)
def test_t_quantiles_are_those_of_the_printed_table(degrees: int, confidence: float, quantile: float) -> None:
    assert t_quantile(degrees, confidence) == pytest.approx(quantile, abs=5e-4)


def test_t_interval_of_a_worked_example() -> None:
    # mean 10, s = 2, n = 4: 10 ± 3.1824 · 2 / 2
    found = t_interval([8.0, 8.0 + 4 / 3, 10 + 2 / 3, 12.0])
    s = np.std([8.0, 8.0 + 4 / 3, 10 + 2 / 3, 12.0], ddof=1)
    assert found.value == pytest.approx(10)
    assert found.high is not None
    assert found.low is not None
    assert found.high - 10 == pytest.approx(3.18245 * s / 2, rel=1e-5)
    assert 10 - found.low == pytest.approx(found.high - 10)
    assert t_half_width(float(s), 4) == pytest.approx(found.high - 10)


def test_one_sample_has_no_interval() -> None:
    assert t_interval([3.0]).model_dump() == {"value": 3.0, "low": None, "high": None}


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [math.inf]])
def test_samples_that_are_no_numbers_are_refused(samples: list[float]) -> None:
    for interval in (t_interval, median_interval):
        with pytest.raises(ValueError, match="samples"):
            interval(samples)


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (20, 6), (50, 18), (100, 40)])
def test_median_interval_takes_the_ranks_of_the_printed_table(count: int, rank: int) -> None:
    found = median_interval(list(reversed(range(1, count + 1))))
    assert (found.value, found.low, found.high) == ((count + 1) / 2, rank, count + 1 - rank)


def test_five_samples_have_no_median_interval() -> None:
    assert median_interval([5, 1, 4, 2, 3]).model_dump() == {"value": 3.0, "low": None, "high": None}


def test_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(7)
    mean = median = 0
    for _ in range(400):
        samples = generator.exponential(size=25)
        ranks = median_interval(samples)
        median += ranks.low <= math.log(2) <= ranks.high
        student = t_interval(generator.normal(3.0, 2.0, size=5))
        mean += student.low <= 3.0 <= student.high
    assert mean >= 0.92 * 400
    assert median >= 0.92 * 400


def test_quadrature() -> None:
    assert quadrature([3.0, 4.0, 12.0]) == 13.0
    assert quadrature([]) == 0.0


@given(FIGURES, FIGURES, HALF_WIDTHS, HALF_WIDTHS, st.floats(-1, 1), st.floats(-1e3, 1e3))
def test_fieller_holds_exactly_the_ratios_that_the_errors_do_not_rule_out(
    numerator: float, denominator: float, first: float, second: float, correlation: float, ratio: float
) -> None:
    covariance = correlation * first * second
    found = fieller(numerator, denominator, first**2, second**2, covariance)
    distance = abs(numerator - ratio * denominator)
    # (first - ratio second)², with the correlation, written as a sum of squares
    half = math.hypot(first - ratio * correlation * second, ratio * second * math.sqrt(1 - correlation**2))
    scale = abs(numerator) + abs(ratio * denominator) + first + abs(ratio) * second
    assume(abs(distance - half) > 1e-6 * scale)
    inside = {
        "all": True,
        "none": False,
        "between": (found.low is None or found.low <= ratio) and (found.high is None or ratio <= found.high),
        "outside": found.low is not None
        and found.high is not None
        and (ratio <= found.low or found.high <= ratio),
    }[found.kind]
    assert inside == (distance <= half)


def test_without_error_fieller_is_the_ratio_itself() -> None:
    found = fieller(-1600.0, -5.32 / 4704, 0.0, 0.0)
    assert found.kind == "between"
    assert found.low == pytest.approx(1600 * 4704 / 5.32, rel=1e-14)
    assert found.high == found.low


def test_fieller_agrees_with_the_delta_method_where_errors_are_small() -> None:
    found = fieller(10.0, 2.0, 1e-6, 4e-8)
    half = 5 * math.hypot(1e-3 / 10, 2e-4 / 2)
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-4)


@pytest.mark.parametrize(
    ("numerator", "denominator", "kind"),
    [(3.0, 0.1, "outside"), (0.1, 0.1, "all"), (1.0, 3.0, "between")],
)
def test_fieller_opens_where_the_denominator_is_lost_in_its_error(
    numerator: float, denominator: float, kind: str
) -> None:
    assert fieller(numerator, denominator, 0.5, 0.5).kind == kind


def test_fieller_of_a_certain_nothing() -> None:
    assert fieller(1.0, 0.0, 0.0, 0.0).kind == "none"
    assert fieller(0.0, 0.0, 0.0, 0.0).kind == "all"


def test_a_variance_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="variance"):
        fieller(1.0, 1.0, -1.0, 0.0)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 1)], [0]),
        ([(1, 3), (2, 2), (3, 1)], [0, 1, 2]),
        ([(3, 1), (2, 2), (1, 3), (2.5, 2.5)], [2, 1, 0]),
        ([(1, 2), (1, 1), (2, 1)], [1]),
        ([(1, 1), (1, 1)], [0]),
    ],
)
def test_pareto_front_by_hand(points: list[tuple[float, float]], front: list[int]) -> None:
    assert pareto_front(points) == front


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_pareto_front_holds_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    def beaten(point: tuple[int, int]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)

    front = [points[index] for index in pareto_front(points)]
    assert front == sorted({point for point in points if not beaten(point)})


def test_pareto_front_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        pareto_front([(1.0, math.nan)])


def test_geometric_interval_by_hand() -> None:
    """Logarithms 0 and 2: mean 1, s/√2 = 1, t(1) = 12.7062."""
    made = geometric_interval([1.0, math.e**2])
    assert made.value == pytest.approx(math.e)
    assert made.low == pytest.approx(math.exp(1 - 12.7062), rel=1e-4)
    assert made.high == pytest.approx(math.exp(1 + 12.7062), rel=1e-4)
    assert geometric_interval([3.0]).low is None
    with pytest.raises(ValueError, match="above zero"):
        geometric_interval([1.0, 0.0])


PROCESSES = (0, 0, 0, 1, 1, 1, 2)


def test_processes_that_differ_count_as_one_sample_each():
    """Means 10, 12 and 11 with a scatter of 0.1 within: 11 ± t(2) · 1 / sqrt(3) = 4.303 · 0.577 = 2.484."""
    samples = [9.9, 10.0, 10.1, 11.9, 12.0, 12.1, 11.0]
    interval = grouped_interval(samples, PROCESSES)
    assert interval.value == pytest.approx(11.0)
    assert interval.high - interval.value == pytest.approx(2.484, rel=1e-3)


def test_processes_that_do_not_are_forgotten():
    samples = [9.9, 10.0, 10.1, 10.1, 9.9, 10.0, 10.05]
    assert grouped_interval(samples, PROCESSES) == t_interval(samples)
    assert grouped_interval(samples, [3] * 7, 0.97) == t_interval(samples, 0.97)
    assert grouped_interval([1.0, 2.0], [0, 1]) == t_interval([1.0, 2.0])
    assert grouped_interval([5.0] * 7, PROCESSES) == t_interval([5.0] * 7)


def test_they_differ_where_scipy_says_so():
    """One-way analysis of variance at 1 %: on either side of the border, and nowhere else."""
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(300):
        samples = rng.standard_normal(7) + rng.uniform(0.0, 6.0) * np.array([0, 0, 0, 1, 1, 1, 0.5])
        differ = peer.f_oneway(samples[:3], samples[3:6], samples[6:]).pvalue < 0.01
        seen.add(bool(differ))
        found = grouped_interval(samples, PROCESSES)
        by_window = t_interval(samples)
        assert (found != by_window) is bool(differ)
    assert seen == {True, False}


def test_intervals_hold_the_truth_where_processes_differ():
    """Processes scatter by 3 %, their windows by 0.3 %: over windows Student's holds 63 % of the truths."""
    rng = np.random.default_rng(2)
    held = naive = 0
    for _ in range(400):
        samples = 1.0 + np.repeat(0.03 * rng.standard_normal(3), 3) + 0.003 * rng.standard_normal(9)
        interval = grouped_interval(samples, np.repeat(range(3), 3))
        held += interval.low <= 1.0 <= interval.high
        by_window = t_interval(samples)
        naive += by_window.low <= 1.0 <= by_window.high
    assert held >= 360
    assert naive <= 300
