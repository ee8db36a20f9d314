"""Percentiles against the binomial distribution, MLPerf's counts, and samples of known percentiles."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from ptprof.profile.percentiles import percentiles, samples_needed
from ptprof.stats import median_interval


def test_the_counts_are_those_of_mlperfs_early_stopping():
    # Published for p90 with one query beyond; the others follow from the same rule.
    assert [samples_needed(p) for p in (50.0, 90.0, 95.0, 99.0, 99.9)] == [1, 64, 130, 662, 6636]


@given(st.floats(60.0, 99.5))
def test_the_count_is_the_least_that_keeps_the_confidence(p):
    n = samples_needed(p)
    beyond = 1 - p / 100
    assert scipy_stats.binom.cdf(1, n, beyond) <= 0.01 < scipy_stats.binom.cdf(1, n - 1, beyond)


@pytest.mark.parametrize(
    ("count", "known"), [(1, 1), (63, 1), (64, 2), (661, 2), (662, 3), (6635, 3), (6636, 4)]
)
def test_a_percentile_of_too_few_samples_is_not_given(count, known):
    found = percentiles([0.01 + 1e-6 * i for i in range(count)])
    assert [p.p for p in found] == [50.0, 90.0, 99.0, 99.9]
    assert [p.seconds is not None for p in found] == [True] * known + [False] * (4 - known)
    assert all(p.samples == count and (p.seconds is not None or p.low is None) for p in found)


def test_the_median_is_the_latency_that_is_reported():
    samples = [0.4, 0.1, 0.3, 0.2, 0.6, 0.5, 0.8, 0.7]
    median, expected = percentiles(samples)[0], median_interval(samples)
    assert (median.seconds, median.low, median.high) == (expected.value, expected.low, expected.high)


def test_order_statistics_by_hand():
    # Binomial(100, 0.9): P(X <= 83) = 0.0206 <= 0.025 < P(X <= 84) = 0.0399, so the 84th is the lower bound;
    # P(X <= 94) = 0.9424 < 0.975 <= P(X <= 95) = 0.9763, so the 96th is the upper one.
    _, p90, *_ = percentiles([float(i) for i in range(1, 101)])
    assert (p90.seconds, p90.low, p90.high) == (90.0, 84.0, 96.0)


def test_whole_ranks_are_not_lifted_by_binary_fractions():
    # 0.9 * 70 is 63.00000000000001 in doubles.
    assert percentiles([float(i) for i in range(1, 71)])[1].seconds == 63.0


def test_intervals_hold_the_true_percentile_as_often_as_they_say():
    rng = random.Random(0)
    truth = scipy_stats.expon.ppf([0.5, 0.9, 0.99])
    hits = [0, 0, 0]
    for _ in range(400):
        found = percentiles([rng.expovariate(1.0) for _ in range(700)])
        for i, (p, true) in enumerate(zip(found[:3], truth, strict=True)):
            assert p.low is not None
            hits[i] += p.low <= true and (p.high is None or true <= p.high)
    # At least 95 % are expected; 400 trials fall below 92 % once in ten thousand.
    assert min(hits) >= 368


def test_what_was_not_answered_is_the_slowest_of_all():
    samples = [float(i) for i in range(1, 91)]
    median, p90, *_ = percentiles(samples, unanswered=10)
    assert (median.seconds, p90.seconds, p90.high) == (50.0, 90.0, None)
    assert percentiles(samples, unanswered=11)[1].seconds is None
    assert percentiles([1.0], unanswered=9)[0].seconds is None
