"""Break-even points: algebra, intervals, verdicts, and coverage of the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof import stats
from ptprof.amortise.breakeven import (
    Cost,
    Lifetime,
    Part,
    break_even,
    cheapest,
    difference,
    lower_envelope,
)

GRAMS = st.floats(1e-3, 1e6)
PER_QUERY = st.floats(1e-9, 1e-1)
SHARE = st.floats(0, 0.5)
QUERIES = st.floats(1, 1e12)
MIRRORED = {
    "crosses": "crosses",
    "not resolved": "not resolved",
    "a always cheaper": "b always cheaper",
    "b always cheaper": "a always cheaper",
}


def life(
    training: float,
    per_query: float,
    *,
    random: tuple[float | None, float | None] = (None, None),
    gain: tuple[str, float] = ("", 0.0),
) -> Lifetime:
    name, systematic = gain
    return Lifetime(
        Cost((Part(training, systematic, name),), random[0]),
        Cost((Part(per_query, systematic, name),), random[1]),
    )


@st.composite
def lifetimes(draw: st.DrawFn) -> Lifetime:
    training, per_query = draw(GRAMS), draw(PER_QUERY)
    return life(
        training,
        per_query,
        random=(draw(SHARE) * training, draw(st.none() | SHARE.map(lambda share: share * per_query))),
        gain=(draw(st.sampled_from(["board-1", "board-2"])), draw(SHARE)),
    )


def test_lines_cross_where_both_cost_the_same() -> None:
    found = break_even(life(100, 2e-3), life(400, 1e-3))
    assert found.queries == pytest.approx(300_000)
    assert (found.verdict, found.a_cheaper_below, found.low, found.high) == ("crosses", True, None, None)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ((100, 1e-3), (200, 2e-3), "a always cheaper"),
        ((200, 2e-3), (100, 1e-3), "b always cheaper"),
        ((100, 1e-3), (200, 1e-3), "a always cheaper"),
        ((100, 1e-3), (100, 2e-3), "a always cheaper"),
        ((100, 2e-3), (100, 1e-3), "b always cheaper"),
        ((100, 1e-3), (100, 1e-3), "not resolved"),
    ],
)
@pytest.mark.parametrize("random", [None, 0.0])
def test_lines_that_do_not_cross_at_a_positive_count(
    a: tuple[float, float], b: tuple[float, float], verdict: str, random: float | None
) -> None:
    found = break_even(life(*a, random=(None, random)), life(*b, random=(None, random)))
    assert found.verdict == verdict
    assert (found.queries, found.low, found.high, found.a_cheaper_below) == (None, None, None, None)


def test_the_verdict_is_the_intervals_and_the_point_value_stands_apart() -> None:
    # 1e-3 ± 0.8e-3 against 1.5e-3 ± 0.6e-3: the lines cross, but 0.5e-3 is within sqrt(0.64 + 0.36) e-3.
    found = break_even(life(300, 1e-3, random=(None, 8e-4)), life(100, 1.5e-3, random=(None, 6e-4)))
    assert found.queries == pytest.approx(400_000)
    assert found.verdict == "not resolved"
    # b is surely cheaper below 200 / (0.5e-3 + 1e-3), and nothing bounds the count from above.
    assert found.low == pytest.approx(200 / 1.5e-3)
    assert found.high is None


def test_a_resolved_crossing_has_two_bounds() -> None:
    found = break_even(life(1120, 9e-3, random=(None, 3e-3)), life(2720, 3e-3, random=(None, 0.0)))
    assert found.verdict == "crosses"
    assert found.low == pytest.approx(1600 / 9e-3)
    assert found.high == pytest.approx(1600 / 3e-3)


def test_an_uncertain_training_leaves_the_small_counts_open() -> None:
    found = break_even(life(100, 2e-3, random=(80.0, 1e-6)), life(150, 1e-3, random=(0.0, 1e-6)))
    assert found.verdict == "not resolved"
    assert found.low is None
    assert found.high is not None
    assert found.high > 50_000


def test_always_cheaper_needs_the_intervals_to_say_so() -> None:
    wide, narrow = life(100, 1e-3, random=(None, 9e-4)), life(100, 1e-3, random=(None, 1e-4))
    dearer = life(200, 1.5e-3, random=(None, 0.0))
    assert break_even(narrow, dearer).verdict == "a always cheaper"
    assert break_even(wide, dearer).verdict == "not resolved"


def test_one_interval_is_enough_to_judge_by() -> None:
    found = break_even(life(300, 1e-3, random=(None, 8e-4)), life(100, 1.5e-3))
    assert found.verdict == "not resolved"


def test_without_any_interval_of_a_query_the_point_decides() -> None:
    found = break_even(life(300, 1e-3, random=(250.0, None)), life(100, 1.5e-3, random=(90.0, None)))
    assert (found.verdict, found.low, found.high) == ("crosses", None, None)


def test_an_error_that_both_share_cancels() -> None:
    modelled = ("cpu-model", 0.5)
    a = life(100, 2.0e-3, random=(0.0, 1e-5), gain=modelled)
    b = life(400, 1.9e-3, random=(0.0, 1e-5), gain=modelled)
    shared = break_even(a, b)
    assert shared == break_even(life(100, 2e-3, random=(0.0, 1e-5)), life(400, 1.9e-3, random=(0.0, 1e-5)))
    assert shared.verdict == "crosses"
    elsewhere = life(400, 1.9e-3, random=(0.0, 1e-5), gain=("another", 0.5))
    assert break_even(a, elsewhere).verdict == "not resolved"


def test_boards_that_are_not_the_same_err_apart() -> None:
    a = life(100, 1e-3, random=(3.0, 0.0), gain=("board-1", 0.05))
    b = life(200, 1e-3, random=(4.0, 0.0), gain=("board-2", 0.05))
    n = 1e5
    own = math.hypot(3, 4, 0.05 * 200, 0.05 * 300)
    assert difference(a, b).half_width(n) == pytest.approx(own)


def test_the_part_that_is_modelled_does_not_cancel_against_the_part_that_is_measured() -> None:
    def mixed(gpu: float, cpu: float) -> Lifetime:
        parts = (Part(gpu, 0.05, "board"), Part(cpu, 0.5, "cpu-model"))
        return Lifetime(Cost((Part(0.0, 0.05, "board"),), 0.0), Cost(parts, 0.0))

    gap = difference(mixed(100e-3, 20e-3), mixed(50e-3, 30e-3))
    assert gap.half_width(1e3) == pytest.approx(math.hypot(0.05 * 50, 0.5 * 10))


def test_total_takes_random_and_systematic_error_together() -> None:
    one = life(100, 1e-3, random=(3.0, 1e-5), gain=("board", 0.1))
    total = one.total(1e5)
    assert total.value == pytest.approx(200)
    assert total.high == pytest.approx(200 + math.hypot(3, 1, 0.1 * 200))
    assert life(100, 1e-3, random=(3.0, None)).total(1e5).high is None
    assert life(100, 1e-3, random=(None, 1e-5)).total(1e5).high == pytest.approx(201)


@given(lifetimes(), lifetimes())
def test_break_even_is_symmetric(a: Lifetime, b: Lifetime) -> None:
    there, back = break_even(a, b), break_even(b, a)
    assert (there.queries, there.low, there.high) == (back.queries, back.low, back.high)
    assert there.verdict == MIRRORED[back.verdict]
    assert there.a_cheaper_below is None or there.a_cheaper_below != back.a_cheaper_below


@given(lifetimes(), lifetimes())
def test_every_answer_is_finite_and_in_order(a: Lifetime, b: Lifetime) -> None:
    found = break_even(a, b)
    numbers = [n for n in (found.low, found.queries, found.high) if n is not None]
    assert all(math.isfinite(n) and n > 0 for n in numbers)
    if found.verdict == "crosses" and found.low is not None:
        assert numbers == sorted(numbers)
        assert found.queries is not None


@given(lifetimes(), lifetimes(), QUERIES)
def test_bounds_and_verdict_say_what_the_interval_says_at_each_count(
    a: Lifetime, b: Lifetime, queries: float
) -> None:
    found, gap = break_even(a, b), difference(a, b)
    if abs(abs(gap.at(queries)) - gap.half_width(queries)) <= 1e-6 * (a.total(queries).value):
        return
    if found.verdict.endswith("always cheaper"):
        assert not gap.tied(queries)
        assert (gap.at(queries) < 0) == (found.verdict == "a always cheaper")
    if found.verdict == "crosses" and found.low is not None and found.high is not None:
        assert gap.tied(queries) == (found.low <= queries <= found.high)
    if found.verdict == "not resolved":
        if found.low is not None:
            assert gap.tied(queries) == (queries >= found.low)
        elif found.high is not None:
            assert gap.tied(queries) == (queries <= found.high)


@given(lifetimes(), QUERIES, QUERIES)
def test_totals_grow_with_the_number_of_queries(one: Lifetime, first: float, second: float) -> None:
    fewer, more = sorted((first, second))
    assert one.total(fewer).value <= one.total(more).value
    assert one.total(fewer).value >= one.training.grams


@given(st.lists(st.tuples(GRAMS, PER_QUERY), min_size=1, max_size=8), QUERIES)
def test_the_envelope_is_the_least_of_all_lines(models: list[tuple[float, float]], queries: float) -> None:
    pieces = lower_envelope(models)
    assert pieces[0][0] == 0
    assert [start for start, _ in pieces] == sorted(start for start, _ in pieces)
    training, per_query = models[[i for start, i in pieces if start <= queries][-1]]
    least = min(c + q * queries for c, q in models)
    assert training + per_query * queries == pytest.approx(least, rel=1e-9)


@given(st.lists(lifetimes(), min_size=1, max_size=6), QUERIES)
def test_the_cheapest_has_the_smallest_total_and_names_its_ties(
    models: list[Lifetime], queries: float
) -> None:
    best, tied = cheapest(models, queries)
    assert models[best].total(queries).value == min(m.total(queries).value for m in models)
    for i, model in enumerate(models):
        if i != best:
            assert (i in tied) == difference(models[best], model).tied(queries)


def test_fieller_covers_the_true_crossing() -> None:
    generator = np.random.default_rng(2)
    truth = (2720.0 - 1120.0) / ((9.0 - 3.7) / 4704)
    covered = 0
    for _ in range(200):
        measured = []
        for training, grams, std in ((2720.0, 3.7, 0.3), (1120.0, 9.0, 0.9)):
            samples = generator.normal(grams, std, size=5) / 4704
            student = stats.t_interval(samples)
            trained = generator.normal(training, 25.0)
            measured.append(life(trained, student.value, random=(1.96 * 25.0, student.high - student.value)))
        found = break_even(*measured)
        covered += found.low is not None and found.high is not None and found.low <= truth <= found.high
    assert covered >= 180
