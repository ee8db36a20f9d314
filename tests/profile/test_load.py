"""An open loop against queueing theory, on a clock that passes by working and waiting only."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from ptprof.energy import EnergyMeter
from ptprof.errors import UsageError
from ptprof.profile import load
from ptprof.profile.bench import LocalBench, Setup
from ptprof.profile.protocol import QUICK
from ptprof.profile.scenarios import scenario


def server(clock, times):
    """A call that takes the next of ``times`` (s), the last one from then on."""
    left = iter(times)
    last = times[-1]
    return lambda: clock.sleep(next(left, last))


def md1_waits(utilisation, service, wait):
    """P(W <= wait) of an M/D/1 queue: A. K. Erlang, 1909."""
    rate = utilisation / service
    terms = [
        (rate * (k * service - wait)) ** k / math.factorial(k) * math.exp(-rate * (k * service - wait))
        for k in range(int(wait / service) + 1)
    ]
    return (1 - utilisation) * sum(terms)


def test_arrivals_are_poisson_and_their_seed_says_which():
    due = load.arrivals(50.0, 400.0, seed=3)
    assert due == load.arrivals(50.0, 400.0, seed=3) != load.arrivals(50.0, 400.0, seed=4)
    assert list(due) == sorted(due)
    assert due[0] > 0
    assert due[-1] < 400.0
    # 20,000 expected, with a deviation of 141; counts of a second have their mean as variance.
    assert abs(len(due) - 20_000) < 500
    counts = [0] * 400
    for at in due:
        counts[int(at)] += 1
    assert fmean((n - 50) ** 2 for n in counts) == pytest.approx(50, rel=0.3)


@pytest.mark.parametrize(("rate", "duration"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (math.inf, 1.0)])
def test_a_load_needs_a_rate_and_a_duration(rate, duration):
    with pytest.raises(UsageError, match="above 0"):
        load.arrivals(rate, duration, 0)


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.8])
def test_equal_times_of_service_make_an_m_d_1_queue(clock, utilisation):
    service, duration = 0.01, 4000.0
    rate = utilisation / service
    served = load.serve(server(clock, [service]), load.arrivals(rate, duration, 1), duration, clock)
    waits = [response - service for response in served.responses_s]
    assert fmean(waits) == pytest.approx(service * utilisation / (2 * (1 - utilisation)), rel=0.05)
    for wait in (0.0, 0.5 * service, 1.5 * service, 3 * service):
        share = sum(w <= wait + 1e-9 for w in waits) / len(waits)
        assert share == pytest.approx(md1_waits(utilisation, service, wait), abs=0.01)
    assert served.busy_s / duration == pytest.approx(utilisation, rel=0.02)
    assert served.latest_start_s == pytest.approx(0.0, abs=1e-9)
    assert served.unanswered == 0


def test_unequal_times_of_service_wait_as_pollaczek_and_khinchine_say(clock):
    rng = random.Random("service")
    due = load.arrivals(60.0, 4000.0, 2)
    times = [rng.expovariate(100.0) for _ in due]
    served = load.serve(server(clock, times), due, 4000.0, clock)
    # Exponential: the second moment is twice the mean squared, so the wait is u s / (1 - u).
    wait = fmean(r - s for r, s in zip(served.responses_s, times, strict=True))
    assert wait == pytest.approx(0.6 * 0.01 / 0.4, rel=0.06)


def test_those_behind_a_stall_have_waited_for_it(clock):
    due = [0.1 * i for i in range(1, 31)]
    served = load.serve(server(clock, [0.01] * 9 + [1.0] + [0.01]), due, 3.2, clock)
    # The tenth takes a second; those that were due meanwhile wait for the rest of it, and for each other.
    assert served.responses_s[9] == pytest.approx(1.0)
    assert served.responses_s[10:14] == pytest.approx([0.91, 0.82, 0.73, 0.64])
    # A closed loop would have seen one slow query in thirty.
    assert sum(response > 0.1 for response in served.responses_s) == 10
    assert served.latest_start_s == pytest.approx(0.0, abs=1e-9)


def test_a_generator_that_oversleeps_is_found_out(clock):
    class Late:
        now = clock.now

        def sleep(self, seconds):
            clock.sleep(seconds + 0.003)

    served = load.serve(lambda: clock.sleep(0.01), [1.0, 2.0], 3.0, Late())
    assert served.latest_start_s == pytest.approx(0.003)
    assert served.responses_s == pytest.approx([0.013, 0.013])


@pytest.fixture
def measured(clock):
    """Windows of a load on a server of one time of service, metered by nothing."""

    def measured(asked, service, count=3):
        call = server(clock, [service])
        with EnergyMeter(sensors=[], clock=clock) as meter:
            return [
                load.measure_window(call, asked, meter, clock, seed=seed, cpu_use=lambda: None)
                for seed in range(count)
            ]

    return measured


def test_a_window_lasts_as_long_as_the_arrivals(measured):
    asked = scenario("load", batch=1, steps=1, rate_per_s=20.0, duration_s=60.0)
    windows = measured(asked, 0.01)
    assert [w.calls for w in windows] == [len(load.arrivals(20.0, 60.0, seed)) for seed in range(3)]
    assert all(60.0 <= w.duration_s < 60.2 and min(w.latencies_s) >= 0.01 - 1e-9 for w in windows)
    found = load.summarise(asked, windows)
    assert (found.rate_per_s, found.duration_s, found.stable, found.unanswered) == (20.0, 60.0, True, 0)
    assert found.service_s.value == pytest.approx(0.01)
    assert found.offered_load == pytest.approx(0.2)
    assert found.utilisation == pytest.approx(0.2, rel=0.1)
    assert load.flags(found, windows) == ()


def test_more_than_can_be_answered_is_said_and_bounded(measured):
    asked = scenario("load", batch=1, steps=1, rate_per_s=100.0, duration_s=10.0)
    windows = measured(asked, 0.04, count=2)
    # Of about 1000, 250 are answered while queries arrive, and as many again in the time after.
    for window in windows:
        assert window.calls in (500, 501)
        assert window.duration_s == pytest.approx(20.0, abs=0.1)
        assert window.calls + window.queue.unanswered == pytest.approx(1000, abs=120)
        assert window.queue.backlog == pytest.approx(750, abs=120)
    found = load.summarise(asked, windows)
    assert not found.stable
    assert found.offered_load == pytest.approx(4.0)
    assert found.utilisation == pytest.approx(1.0, abs=0.01)
    assert found.unanswered == sum(w.queue.unanswered for w in windows)
    assert load.flags(found, windows) == (
        "unstable: 100 calls/s offered, 25 can be answered; latencies grow with the duration",
    )


def test_a_load_in_which_nothing_arrives_is_refused(measured):
    with pytest.raises(UsageError, match="give a longer --duration"):
        measured(scenario("load", batch=1, steps=1, rate_per_s=0.001, duration_s=1.0), 0.01)
    with pytest.raises(UsageError, match="--rate"):
        load.asked(scenario("one-step", batch=1, steps=1))


def test_a_bench_serves_a_load(study, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = study.run("fno")
    asked = scenario("load", batch=1, steps=1, rate_per_s=40.0, duration_s=0.2)
    with LocalBench(Setup(study.root, "eager", "cpu", 6.0, threads=1)) as bench:
        bench.prepare(run, asked)
        window = bench.window(run, asked, QUICK, 1)
    due = load.arrivals(40.0, 0.2, 1)
    assert window.calls + window.queue.unanswered == len(due)
    assert 0 < window.queue.busy_s <= window.duration_s
    assert window.energy.cpu.joules > 0
