"""Waits before workers: Erlang's, Franx's and Pollaczek's formulas, and queues that are played through."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ptprof.amortise.queueing import Queues, Service, filling_s

CONSTANT = Service((1.0,))


def erlang(load: float, wait: float) -> float:
    """P(W > wait) of M/D/1, service 1: A. K. Erlang, 1909."""
    terms = (
        (load * (k - wait)) ** k / math.factorial(k) * math.exp(load * (wait - k))
        for k in range(math.floor(wait) + 1)
    )
    return 1 - (1 - load) * math.fsum(terms)


def franx(load: float, workers: int, wait: float) -> float:
    """P(W > wait) of M/D/c, service 1, from the lengths of the queue: G. J. Franx, 2001."""
    rate, most = load * workers, 20 * workers + 20
    arriving = stats.poisson.pmf(np.arange(most + 1), rate)
    present = np.zeros(most + 1)
    present[0] = 1.0
    for _ in range(400):  # one time of service on: those being served leave, others arrive
        left = np.concatenate(([present[: workers + 1].sum()], present[workers + 1 :]))
        present = np.convolve(left, arriving)[: most + 1]
        present /= present.sum()
    queued = np.cumsum(present)[workers:]
    k = math.floor(wait) + 1
    terms = stats.poisson.pmf(np.arange(k * workers), rate * (k - wait))
    return 1 - float(terms @ queued[k * workers - 1 - np.arange(k * workers)])


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("wait", [0.25, 0.5, 1.5, 3.0, 6.0])
def test_one_worker_of_constant_service_waits_as_erlang_says(load: float, wait: float) -> None:
    assert Queues(CONSTANT).exceeding(1 + wait, 1, load) == pytest.approx(erlang(load, wait), abs=1e-4)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8, 0.95])
def test_where_erlangs_distribution_has_its_corner_the_lattice_errs_upwards(load: float) -> None:
    found = Queues(CONSTANT).exceeding(2.0, 1, load)
    assert erlang(load, 1.0) <= found <= erlang(load, 1.0) + 0.002


@pytest.mark.parametrize(("workers", "load"), [(2, 0.5), (2, 0.9), (5, 0.8), (20, 0.9)])
@pytest.mark.parametrize("wait", [0.1, 0.4, 1.3, 2.5])
def test_turns_of_constant_service_are_one_queue_before_several_workers(
    workers: int, load: float, wait: float
) -> None:
    found = Queues(CONSTANT).exceeding(1 + wait, workers, load * workers)
    assert found == pytest.approx(franx(load, workers, wait), abs=1e-3)


def test_exponential_service_is_answered_as_m_m_1() -> None:
    times = tuple(-math.log1p(-(i + 0.5) / 20_000) for i in range(20_000))
    queues = Queues(Service(times), "random")
    for load in (0.3, 0.7, 0.9):
        for response in (0.5, 2.0, 5.0):
            expected = math.exp(-(1 - load) * response)
            assert queues.exceeding(response, 3, 3 * load) == pytest.approx(expected, abs=2e-3)


def test_mean_wait_of_uneven_service_is_pollaczek_and_khinchines() -> None:
    service = Service((0.5, 0.5, 0.7, 2.3))
    queues = Queues(service, "random")
    load = 0.6 / service.mean_s
    middles = np.arange(0.05, 40.0, 0.1)
    response = 0.1 * sum(queues.exceeding(t, 1, load) for t in middles)
    square = sum(t * t for t in service.times_s) / 4
    assert response - service.mean_s == pytest.approx(load * square / (2 * (1 - 0.6)), rel=2e-3)


def played(times: Sequence[float], workers: int, rate: float, *, shared: bool) -> np.ndarray:
    """Responses of 100,000 calls that arrive at random, in turn or from one queue, drawn with seed 0."""
    rng = random.Random(0)
    now, responses = 0.0, []
    free = [0.0] * workers
    for call in range(100_000):
        now += rng.expovariate(rate)
        service = rng.choice(times)
        if shared:
            begun = max(now, heapq.heappop(free))
            heapq.heappush(free, begun + service)
        else:
            begun = max(now, free[call % workers])
            free[call % workers] = begun + service
        responses.append(begun + service - now)
    return np.array(responses[1000:])


def test_turns_played_through_take_as_long_as_computed_and_one_queue_less() -> None:
    times = (0.6, 0.8, 0.8, 1.0, 1.8)
    queues = Queues(Service(times))
    in_turn, shared = (played(times, 3, 2.4, shared=shared) for shared in (False, True))
    for response in (1.0, 1.9, 3.0, 5.0):
        exceeding = queues.exceeding(response, 3, 2.4)
        assert exceeding == pytest.approx(float((in_turn > response).mean()), abs=0.02)
        assert exceeding > float((shared > response).mean()) - 0.01
    assert shared.mean() < in_turn.mean()


LOADS = st.floats(0.01, 500.0)
BOUNDS = st.floats(1.6, 60.0)
UNEVEN = Service((0.8, 0.9, 1.0, 1.0, 1.1, 1.5))


@settings(deadline=None, max_examples=25)
@given(rate=LOADS, more=st.floats(1.0, 3.0), bound=BOUNDS, tighter=st.floats(0.5, 1.0))
@pytest.mark.parametrize("dispatch", ["round-robin", "random"])
def test_more_queries_or_a_tighter_bound_never_need_fewer_workers(
    dispatch: str, rate: float, more: float, bound: float, tighter: float
) -> None:
    queues = Queues(UNEVEN, dispatch)  # type: ignore[arg-type]
    needed = queues.workers_needed(rate, bound, 0.99)
    assert needed is not None
    with_more = queues.workers_needed(rate * more, bound, 0.99)
    assert with_more is not None
    assert with_more >= needed
    sooner = queues.workers_needed(rate, max(bound * tighter, 1.5), 0.99)
    assert sooner is None or sooner >= needed


@settings(deadline=None, max_examples=25)
@given(rate=LOADS, bound=BOUNDS)
def test_the_number_is_the_smallest_that_meets_the_bound(rate: float, bound: float) -> None:
    queues = Queues(UNEVEN)
    needed = queues.workers_needed(rate, bound, 0.99)
    assert needed is not None
    assert queues.exceeding(bound, needed, rate) <= 0.01
    assert needed >= queues.least(rate) > rate * UNEVEN.mean_s
    assert needed == queues.least(rate) or queues.exceeding(bound, needed - 1, rate) > 0.01
    assert queues.quantile(0.99, needed, rate) <= bound * (1 + 1e-3) or bound > 50
    by_chance = Queues(UNEVEN, "random").workers_needed(rate, bound, 0.99)
    assert by_chance is not None
    assert by_chance >= needed


def test_many_workers_in_turn_come_near_to_their_capacity() -> None:
    assert Queues(CONSTANT).workers_needed(10_000, 1.5, 0.99) in range(10_001, 10_050)
    # By chance a worker must nearly always be free: fewer than one in a hundred may wait half a service.
    by_chance = Queues(CONSTANT, "random").workers_needed(10_000, 1.5, 0.99)
    assert by_chance is not None
    load = 10_000 / by_chance
    assert erlang(load, 0.5) == pytest.approx(0.01, rel=0.01)


def test_what_serves_too_slowly_has_no_number_of_workers() -> None:
    assert Queues(UNEVEN).workers_needed(10.0, 1.49, 0.99) is None
    assert Queues(UNEVEN).workers_needed(10.0, 1.5, 0.99) is not None
    assert UNEVEN.quantile(0.99) == 1.5
    assert UNEVEN.quantile(0.5) == 1.0


def test_a_worker_that_cannot_keep_up_answers_none_in_time() -> None:
    assert Queues(CONSTANT).exceeding(100.0, 4, 4.0) == 1.0
    assert math.isinf(Queues(CONSTANT).quantile(0.99, 4, 4.5))


def test_batches_spread_a_call_over_their_queries() -> None:
    """Calls of four queries: a quarter of the load, and Erlang's arrivals of four times the order."""
    batched, single = Queues(CONSTANT, batch=4), Queues(CONSTANT)
    assert batched.utilisation(2, 6.0) == pytest.approx(0.75)
    assert batched.exceeding(1.6, 2, 6.0) == pytest.approx(single.exceeding(1.6, 8, 6.0))
    assert batched.least(6.0) == 2


def test_filling_a_batch_takes_the_arrivals_after_the_first() -> None:
    assert filling_s(1, 10.0, 0.99) == 0.0
    assert filling_s(2, 10.0, 0.99) == pytest.approx(math.log(100) / 10)
    assert filling_s(8, 10.0, 0.95) == pytest.approx(stats.gamma.ppf(0.95, 7, scale=0.1))


@pytest.mark.parametrize("times", [(), (0.0,), (1.0, math.inf), (-1.0,)])
def test_times_that_are_none_are_refused(times: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="times of service"):
        Service(times)
