"""Accuracy against carbon: which errors count, and who dominates whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ptprof import stats
from ptprof.amortise.accuracy import Metric, parse_limit, parse_metric
from ptprof.amortise.breakeven import Cost, Lifetime, Part
from ptprof.amortise.pareto import dominators
from ptprof.errors import UsageError
from ptprof.records import Accuracy, EnergyBreakdown, Interval, Scores

Make = Callable[..., Any]


def scores(vrmse: float | None, r: float | None = 0.9) -> Scores:
    return Scores(pearson_r={"tracer": r}, vrmse={"tracer": vrmse})


ACCURACY = Accuracy(one_step=scores(0.1), rollout=(scores(0.2), scores(0.4, 0.6), scores(None, None)))


@pytest.mark.parametrize(
    ("text", "error", "name"),
    [
        ("vrmse", 0.1, "vrmse"),
        ("vrmse@2", 0.4, "vrmse@2"),
        ("pearson_r", 0.1, "1 − pearson_r"),
        ("pearson_r@2", 0.4, "1 − pearson_r@2"),
        ("vrmse@3", None, "vrmse@3"),
        ("vrmse@4", None, "vrmse@4"),
        ("nrmse", None, "nrmse"),
    ],
)
def test_an_error_is_the_smaller_the_better(text: str, error: float | None, name: str) -> None:
    metric = parse_metric(text)
    assert metric.error(ACCURACY) == (None if error is None else pytest.approx(error))
    assert metric.error_name == name


def test_seeds_make_an_interval(make_run: Make) -> None:
    errors = (0.10, 0.12, 0.11)
    runs = [make_run("fno", EnergyBreakdown(), accuracy=Accuracy(one_step=scores(e))) for e in errors]
    assert Metric("vrmse").over(runs) == stats.t_interval(errors)
    assert Metric("vrmse").over(runs[:1]) == Interval(value=0.10)
    diverged = make_run("fno", EnergyBreakdown(), accuracy=Accuracy(one_step=scores(None)))
    assert Metric("vrmse").over([*runs, diverged]) is None


@pytest.mark.parametrize("text", ["vrmse@0", "vrmse@", "vrmsee", "", "vrmse@2.5", "vrmse@-1", "energy"])
def test_other_metrics_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_metric(text)


def test_a_limit_is_a_metric_and_a_number() -> None:
    assert parse_limit("vrmse@20=0.5") == (Metric("vrmse", 20), 0.5)
    for text in ("vrmse", "vrmse=", "vrmse=nan", "vrmse=-1", "vrmse=inf", "=1", "pearson_r=0.1"):
        with pytest.raises(UsageError):
            parse_limit(text)


def life(training: float, per_query: float, half: float = 0.0) -> Lifetime:
    return Lifetime(Cost((Part(training),), 0.0), Cost((Part(per_query),), half))


def test_dominance_needs_both_and_depends_on_the_number_of_queries() -> None:
    dear_to_train, dear_to_ask = life(100.0, 1e-3), life(1.0, 1e-2)
    models = [(dear_to_train, Interval(value=0.2)), (dear_to_ask, Interval(value=0.1))]
    assert dominators(models, 100) == [(1,), ()]
    assert dominators(models, 1e6) == [(), ()]


def test_what_the_intervals_do_not_tell_apart_dominates_nothing() -> None:
    a, b = life(1.0, 1e-3, 2e-4), life(1.0, 1.1e-3)
    exact = [(a, Interval(value=0.1)), (b, Interval(value=0.2))]
    assert dominators(exact, 1e6) == [(), ()]
    sure = [(life(1.0, 1e-3, 2e-5), Interval(value=0.1)), exact[1]]
    assert dominators(sure, 1e6) == [(), (0,)]
    overlapping = [
        (sure[0][0], Interval(value=0.1, low=0.05, high=0.16)),
        (b, Interval(value=0.2, low=0.15, high=0.25)),
    ]
    assert dominators(overlapping, 1e6) == [(), ()]


def test_as_accurate_and_surely_cheaper_is_enough() -> None:
    models = [(life(1.0, 1e-3), Interval(value=0.1)), (life(2.0, 1e-3), Interval(value=0.1))]
    assert dominators(models, 10) == [(), (0,)]
