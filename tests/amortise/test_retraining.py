"""Models that are trained anew: totals climb by steps, and what that does to crossings and the envelope."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.amortise.breakeven import Cost, Lifetime, Part, break_even, difference, envelope
from ptprof.amortise.lifetime import trained

GRAMS = st.floats(1e-3, 1e6)
PER_QUERY = st.floats(1e-9, 1e-1)
EVERY = st.floats(1, 1e9)
QUERIES = st.floats(1, 1e12)


def cost(grams: float, share: float = 0.0) -> Cost:
    return Cost((Part(grams),), share * grams)


@st.composite
def lifetimes(draw: st.DrawFn, every: float | None = None) -> Lifetime:
    share = st.floats(0, 0.5)
    return Lifetime(
        cost(draw(GRAMS), draw(share)),
        cost(draw(PER_QUERY), draw(share)),
        cost(draw(GRAMS), draw(share)),
        every,
    )


@pytest.mark.parametrize(
    ("queries", "every", "times"),
    [(1, 1000, 1), (1000, 1000, 1), (1001, 1000, 2), (2000, 1000, 2), (1e12, 1e3, 1e9), (5, None, 1)],
)
def test_a_training_is_paid_when_it_begins(queries: float, every: float | None, times: float) -> None:
    assert trained(queries, every) == times
    life = Lifetime(cost(100.0), cost(1e-3), cost(7.0), every)
    assert life.total(queries).value == pytest.approx(7 + times * 100 + queries * 1e-3)


def test_one_training_errs_alike_each_time_it_is_paid() -> None:
    life = Lifetime(cost(100.0, 0.1), cost(1e-3, 0.2), cost(50.0, 0.1), 1000)
    total = life.total(3000)
    assert total.high == pytest.approx(total.value + math.hypot(5, 3 * 10, 3000 * 2e-4))


def test_what_would_pay_only_after_the_next_training_never_pays() -> None:
    # Lines cross at 300,000; dear to train against dear to ask.
    a, b = Lifetime(cost(400.0), cost(1e-3)), Lifetime(cost(100.0), cost(2e-3))
    assert break_even(a, b).queries == pytest.approx(300_000)
    sooner = break_even(replace(a, retrain_every=2e5), replace(b, retrain_every=2e5))
    assert (sooner.queries, sooner.verdict) == (None, "b always cheaper")
    later = break_even(replace(a, retrain_every=4e5), replace(b, retrain_every=4e5))
    assert later.queries == pytest.approx(300_000)
    assert (later.verdict, later.a_cheaper_below) == ("crosses", False)


def test_what_is_paid_once_is_outweighed_beyond_the_first_training() -> None:
    # 500 once against 100 g more for every thousand queries.
    a = Lifetime(cost(100.0), cost(1e-3), cost(500.0), 1000)
    b = Lifetime(cost(200.0), cost(1e-3), cost(0.0), 1000)
    found = break_even(a, b)
    assert found.queries == pytest.approx(5000)
    assert (found.verdict, found.a_cheaper_below) == ("crosses", False)
    assert difference(a, b).at(5000) == 0
    assert envelope([a, b]) == [(0.0, 1), (pytest.approx(5000), 0)]


def test_an_order_that_changes_twice_is_not_resolved() -> None:
    # a is cheaper up to 625 queries, b up to 2500, and a again beyond, for b pays 10 g more every thousand.
    a = Lifetime(cost(10.0), cost(9e-3), cost(5.0), 1000)
    b = Lifetime(cost(20.0), cost(1e-3), cost(0.0), 1000)
    found = break_even(a, b)
    assert found.a_cheaper_below is True
    assert (found.queries, found.low, found.high) == pytest.approx((625, 625, 2500))
    assert found.verdict == "not resolved"
    assert envelope([a, b]) == [(0.0, 0), (pytest.approx(625), 1), (pytest.approx(2500), 0)]


@given(lifetimes(), lifetimes(), QUERIES, st.floats(1, 10))
def test_a_training_that_outlives_the_queries_is_no_retraining(
    a: Lifetime, b: Lifetime, queries: float, longer: float
) -> None:
    every = queries * longer
    a_again, b_again = (replace(life, retrain_every=every) for life in (a, b))
    assert a_again.total(queries) == a.total(queries)
    assert difference(a_again, b_again).tied(queries) == difference(a, b).tied(queries)
    once, again = break_even(a, b), break_even(a_again, b_again)
    if once.queries is not None and once.queries <= every:
        assert again.queries == once.queries
        assert again.a_cheaper_below == once.a_cheaper_below


@given(lifetimes(), EVERY, QUERIES, QUERIES)
def test_totals_grow_with_queries_and_with_every_training(
    life: Lifetime, every: float, first: float, second: float
) -> None:
    fewer, more = sorted((first, second))
    again = replace(life, retrain_every=every)
    assert again.total(fewer).value <= again.total(more).value
    assert again.total(more).value >= life.total(more).value


@given(lifetimes(), lifetimes(), EVERY)
def test_break_even_stays_symmetric(a: Lifetime, b: Lifetime, every: float) -> None:
    a, b = (replace(life, retrain_every=every) for life in (a, b))
    there, back = break_even(a, b), break_even(b, a)
    assert (there.queries, there.low, there.high) == (back.queries, back.low, back.high)
    assert there.a_cheaper_below is None or there.a_cheaper_below != back.a_cheaper_below


@given(st.lists(lifetimes(), min_size=1, max_size=6), EVERY, st.integers(1, 1000))
def test_the_envelope_is_exact_where_a_training_has_served_its_queries(
    lives: list[Lifetime], every: float, times: int
) -> None:
    lives = [replace(life, retrain_every=every) for life in lives]
    queries = times * every
    totals = [
        life.once.grams + times * life.training.grams + queries * life.per_query.grams for life in lives
    ]
    best = [i for start, i in envelope(lives) if start <= queries][-1]
    assert totals[best] == pytest.approx(min(totals), rel=1e-9)


@given(lifetimes(), lifetimes(), EVERY, st.integers(1, 1000))
def test_the_verdict_holds_where_a_training_has_served_its_queries(
    a: Lifetime, b: Lifetime, every: float, times: int
) -> None:
    a, b = (replace(life, retrain_every=every) for life in (a, b))
    found, queries = break_even(a, b), times * every
    gap = difference(a, b)
    at = gap.once + times * gap.training + queries * gap.per_query
    half = math.hypot(*(error.at(times, queries) for error in gap.errors or ()))
    if abs(abs(at) - half) <= 1e-6 * a.total(queries).value:
        return
    if found.verdict.endswith("always cheaper"):
        assert abs(at) > half
        assert (at < 0) == (found.verdict == "a always cheaper")
    if abs(at) <= half:
        assert found.low is None or queries >= found.low * (1 - 1e-9)
        assert found.high is None or queries <= found.high * (1 + 1e-9)
