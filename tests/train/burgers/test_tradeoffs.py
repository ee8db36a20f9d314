"""The trade-off against examples worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.errors import StudyError, UsageError
from ptprof.records import EnergyBreakdown, PinnPoint
from ptprof.train.burgers import tradeoff
from ptprof.train.burgers.tradeoffs import At, compare
from ptprof.train.recipe import load_recipe

RECIPE = load_recipe("quick")
GRAMS = 445 / 3.6e6
#: From a test error of 0.1 down to 0.001; the NN pays 1 J for the first and 8 J for the last.
NN = [At(1.0, 0.1), At(8.0, 0.001)]
PINN = [At(2.0, 0.1), At(4.0, 0.001)]


def test_one_seed_by_hand() -> None:
    """At 0.1 the costs are 1 and 2; at the 20 accuracies below, down to 0.001, they are 8 and 4."""
    made = compare("burgers-u-pinn", [NN], [PINN])
    assert [ratio.test_mse for ratio in made.ratios] == pytest.approx(
        [10 ** (k / 10) for k in range(-30, -9)]
    )
    assert [ratio.factor.value for ratio in made.ratios] == pytest.approx([2.0] * 20 + [0.5])
    assert made.largest is not None
    assert made.smallest is not None
    assert made.typical is not None
    assert (made.largest.nn_g, made.largest.pinn_g) == pytest.approx((8.0, 4.0))
    assert made.largest.factor.value == pytest.approx(2.0)
    assert made.smallest.test_mse == pytest.approx(0.1)
    assert made.typical.value == pytest.approx(2 ** (19 / 21))
    assert made.largest.factor.low is None


def test_two_seeds_have_an_interval_of_logarithms() -> None:
    """The second NN costs twice as much: factors 2 and 4, so 2√2 times or over exp(12.706 · ln 2 / 2)."""
    twice = [At(2 * at.grams, at.test_mse) for at in NN]
    made = compare("burgers-u-pinn", [NN, twice], [PINN, PINN])
    assert made.largest is not None
    factor = made.largest.factor
    assert factor.value == pytest.approx(math.sqrt(8))
    assert factor.high == pytest.approx(math.sqrt(8) * math.exp(12.7062 * math.log(2) / 2), rel=1e-4)
    assert factor.low == pytest.approx(8 / (factor.high or 0))


def test_only_accuracies_that_every_seed_of_both_reaches_are_compared() -> None:
    """One seed of the NN ends at 0.01, and the PINN begins at 0.05."""
    short = [At(1.0, 0.1), At(3.0, 0.01)]
    late = [At(2.0, 0.05), At(4.0, 0.001)]
    made = compare("best PINN", [NN, short], [late, late])
    errors = [ratio.test_mse for ratio in made.ratios]
    assert errors[0] == pytest.approx(0.01)
    assert errors[-1] == pytest.approx(10**-1.4)
    assert errors[-1] <= 0.05


def test_without_an_accuracy_in_common_there_is_no_factor() -> None:
    made = compare("best PINN", [[At(1.0, 0.1)]], [[At(2.0, 0.01)]])
    assert made.ratios == ()
    assert (made.largest, made.smallest, made.typical) == (None, None, None)


@given(st.floats(0.1, 10.0))
def test_a_gain_that_both_share_leaves_the_factor_alone(gain: float) -> None:
    scaled = [[At(gain * at.grams, at.test_mse) for at in curve] for curve in (NN, PINN)]
    made, same = compare("x", [scaled[0]], [scaled[1]]), compare("x", [NN], [PINN])
    assert [r.factor.value for r in made.ratios] == pytest.approx([r.factor.value for r in same.ratios])


def test_the_whole_by_hand(make_point: Callable[..., PinnPoint]) -> None:
    """Costs add up over the stages; sizes and stages compete; the best PINN is the cheaper of the two."""
    points = [
        make_point("burgers-nn", 1000, 0, [(1.0, 0.1), (7.0, 0.001)]),
        make_point("burgers-nn", 2000, 0, [(2.0, 0.2), (8.0, 0.01)]),  # never better
        make_point("burgers-u-pinn", 1000, 0, [(2.0, 0.1), (2.0, 0.001)]),
        make_point("burgers-s-pinn", 1000, 0, [(3.0, 0.1), (1.5, 0.0001)]),
    ]
    made = tradeoff(points, RECIPE)
    best, unsupervised, semi = made.comparisons
    assert [c.pinn for c in made.comparisons] == ["best PINN", "burgers-u-pinn", "burgers-s-pinn"]
    assert [c.largest and c.largest.factor.value for c in made.comparisons] == pytest.approx(
        [2.0, 2.0, 8 / 4.5]
    )
    assert unsupervised.ratios[0].nn_g == pytest.approx(8 * GRAMS)
    assert semi.ratios[0].pinn_g == pytest.approx(4.5 * GRAMS)
    assert best.ratios[0].test_mse == pytest.approx(0.001)
    front = {(s.model, s.points, s.steps) for s in made.stops if s.on_front}
    assert front == {
        ("burgers-nn", 1000, 100),
        ("burgers-u-pinn", 1000, 200),
        ("burgers-s-pinn", 1000, 200),
    }
    assert {(s.model, s.points) for s in made.stops if s.final} == {(p.model, p.points) for p in points}
    assert made.trainings[0].co2eq_g == pytest.approx(8 * GRAMS)
    assert made.best_test_mse["burgers-s-pinn"].value == pytest.approx(1e-4)
    assert made.energy.joules == pytest.approx(8 + 10 + 4 + 4.5)


def test_stops_are_geometric_means_over_the_seeds(make_point: Callable[..., PinnPoint]) -> None:
    points = [
        make_point(model, 1000, seed, [(1.0 + 3 * seed, 0.1 / 100**seed)])
        for model in ("burgers-nn", "burgers-u-pinn", "burgers-s-pinn")
        for seed in (0, 1)
    ]
    stop = tradeoff(points, RECIPE).stops[0]
    assert stop.co2eq_g.value == pytest.approx(2 * GRAMS)
    assert stop.test_mse.value == pytest.approx(0.01)
    assert stop.test_mse.low is not None


def test_intensity_and_pue_scale_grams_and_no_factor(make_point: Callable[..., PinnPoint]) -> None:
    points = [
        make_point(model, 1000, 0, [(joules, 0.1)])
        for model, joules in (("burgers-nn", 3.0), ("burgers-u-pinn", 1.0), ("burgers-s-pinn", 2.0))
    ]
    made, doubled = (
        tradeoff(points, RECIPE),
        tradeoff(points, RECIPE, intensity_g_per_kwh=445 * 1.6, pue=1.25),
    )
    assert doubled.trainings[0].co2eq_g == pytest.approx(2 * made.trainings[0].co2eq_g)
    assert doubled.comparisons[0].ratios[0].factor.value == pytest.approx(3.0)
    with pytest.raises(UsageError, match="PUE"):
        tradeoff(points, RECIPE, pue=0.5)
    with pytest.raises(UsageError, match="above zero"):
        tradeoff(points, RECIPE, intensity_g_per_kwh=-1)


def test_a_point_without_energy_is_named(make_point: Callable[..., PinnPoint]) -> None:
    point = make_point("burgers-nn", 1000, 0, [(1.0, 0.1)])
    nothing = EnergyBreakdown(missing={"cpu": "no sensor"})
    bare = point.model_copy(
        update={"energy": nothing, "stages": (point.stages[0].model_copy(update={"energy": nothing}),)}
    )
    with pytest.raises(StudyError, match="burgers-nn-quick-n1000-s0 has no energy"):
        tradeoff([bare], RECIPE)
