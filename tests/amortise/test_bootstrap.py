"""The break-even point by resampling: on synthetic windows it covers the truth as often as algebra does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ptprof import stats
from ptprof.amortise import bootstrap
from ptprof.amortise.breakeven import Cost, Lifetime, Part, break_even
from ptprof.amortise.candidate import Candidate

TRUTH = (2720.0 - 1120.0) / ((9.0 - 3.7) / 4704)


def measured(
    generator: np.random.Generator, training: float, grams: float, std: float, count: int
) -> Candidate:
    """A model whose windows scatter about ``grams`` per 4,704 queries; its training is known exactly."""
    samples = generator.normal(grams, std, size=count) / 4704
    student = stats.t_interval(samples)
    assert student.high is not None
    per_query = Cost((Part(student.value),), student.high - student.value)
    life = Lifetime(Cost((Part(training),), 0.0), per_query)
    return Candidate("m", life, "measured", "measured", samples=tuple(samples))


@pytest.mark.parametrize("count", [5, 12])
def test_both_intervals_cover_the_true_crossing(count: int) -> None:
    covered = {"fieller": 0, "bootstrap": 0}
    for seed in range(200):
        generator = np.random.default_rng([7, count, seed])
        a = measured(generator, 2720.0, 3.7, 0.3, count)
        b = measured(generator, 1120.0, 9.0, 0.9, count)
        found = break_even(a.lifetime, b.lifetime)
        bounds = {"fieller": (found.low, found.high), "bootstrap": bootstrap.break_even(a, b)}
        for name, (low, high) in bounds.items():
            covered[name] += (low or 0.0) <= TRUTH <= (math.inf if high is None else high)
    assert covered["fieller"] >= 180
    assert covered["bootstrap"] >= 180


def test_the_two_agree_on_many_windows() -> None:
    generator = np.random.default_rng(3)
    a, b = measured(generator, 2720.0, 3.7, 0.3, 40), measured(generator, 1120.0, 9.0, 0.9, 40)
    found = break_even(a.lifetime, b.lifetime)
    assert bootstrap.break_even(a, b) == pytest.approx((found.low, found.high), rel=0.03)


def test_costs_beside_the_windows_shift_the_crossing() -> None:
    def sampled(training: float, samples: tuple[float, ...], beside: float) -> Candidate:
        mean = sum(samples) / len(samples)
        life = Lifetime(Cost((Part(training),), 0.0), Cost((Part(mean), Part(beside)), 0.0))
        return Candidate("m", life, "measured", "measured", samples=samples)

    a, b = sampled(100.0, (2.0, 2.0, 2.0), 1.0), sampled(400.0, (1.0, 1.0, 1.0), 1.5)
    assert bootstrap.break_even(a, b) == pytest.approx((600.0, 600.0))


def test_retraining_counts_as_it_does_for_the_break_even() -> None:
    def sampled(once: float, training: float, query: float, every: float) -> Candidate:
        life = Lifetime(
            Cost((Part(training),), 0.0), Cost((Part(query),), 0.0), Cost((Part(once),), 0.0), every
        )
        return Candidate("m", life, "measured", "measured", samples=(query,) * 3)

    for pair in (((0, 400, 1e-3), (0, 100, 2e-3)), ((500, 100, 1e-3), (0, 200, 1e-3))):
        for every in (1e3, 2e5, 4e5):
            a, b = (sampled(*costs, every) for costs in pair)
            point = break_even(a.lifetime, b.lifetime).queries
            expected = (None, None) if point is None else (pytest.approx(point), pytest.approx(point))
            assert bootstrap.break_even(a, b) == expected


def test_a_crossing_that_may_never_come_has_no_upper_bound() -> None:
    generator = np.random.default_rng(1)
    a, b = measured(generator, 2720.0, 8.0, 2.0, 8), measured(generator, 1120.0, 8.2, 2.0, 8)
    low, high = bootstrap.break_even(a, b)
    assert low is not None
    assert high is None


def test_figures_without_windows_have_none() -> None:
    life = Lifetime(Cost((Part(1.0),)), Cost((Part(1e-3),), 1e-4))
    bare = Candidate("m", life, "given", "given")
    assert bootstrap.break_even(bare, bare) == (None, None)


def test_the_interval_of_a_mean_is_about_students() -> None:
    samples = np.random.default_rng(0).normal(10.0, 1.0, size=6)
    student = stats.t_interval(samples)
    low, high = stats.bootstrap_interval([samples], lambda means: means[0], resamples=40_000)
    assert (low, high) == pytest.approx((student.low, student.high), abs=0.25)
    with pytest.raises(ValueError, match="two samples"):
        stats.bootstrap_interval([[1.0]], lambda means: means[0])
