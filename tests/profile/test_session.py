"""Rounds, failures and deaths, on a bench that measures nothing."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ptprof.energy import EnergyBreakdown
from ptprof.errors import MeasurementError
from ptprof.profile.bench import Info, Prepared
from ptprof.profile.protocol import QUICK
from ptprof.profile.scenarios import scenario
from ptprof.profile.session import Session
from ptprof.profile.summary import Subject
from ptprof.profile.worker import WorkerDied
from ptprof.records import Environment

MACHINE = Environment(platform="p", python="3", cpu="c", cpu_cores=2, memory_bytes=1)
ONE_STEP = scenario("one-step", batch=1, steps=10)


class FakeBench:
    """Writes down what it is asked; ``faults`` maps (verb, model, how many times) to what is raised then."""

    def __init__(self, window, *, idles=False, faults=None):
        self.info = Info("a CPU", MACHINE, measures_idle=idles)
        self.asked = []
        self._window = window
        self._faults = faults or {}

    def _ask(self, verb, model):
        self.asked.append((verb, model))
        fault = self._faults.get((verb, model, self.asked.count((verb, model))))
        if fault is not None:
            raise fault

    def prepare(self, run, scenario):
        self._ask("prepare", run.model)
        return Prepared("p", 1, None)

    def warm_up(self, run, scenario, seconds):
        self._ask("warm_up", run.model)
        return 1

    def window(self, run, scenario, protocol):
        self._ask("window", run.model)
        return self._window

    def idle(self, seconds):
        self._ask("idle", "")
        return seconds, self._window.energy

    def windows(self):
        return [model for verb, model in self.asked if verb == "window"]


@pytest.fixture
def begin(make_run):
    """A session over models; finished ones are listed with the number of windows measured by then."""

    def begin(models, **settings):
        subjects = [Subject(make_run(m, EnergyBreakdown()), "eager", "cpu", ONE_STEP, m) for m in models]
        finished = []
        steps = []
        session = Session(
            subjects,
            QUICK,
            emit=lambda subject, m: finished.append((subject.run.model, m)),
            step=steps.append,
            sleep=lambda seconds: None,
            **settings,
        )
        return session, finished, steps

    return begin


def test_candidates_take_turns(begin, make_window):
    session, finished, steps = begin("abc")
    bench = FakeBench(make_window())
    session.run(bench)
    turns = bench.windows()
    rounds = [turns[i : i + 3] for i in range(0, 15, 3)]
    assert len(turns) == 15
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert sorted(model for model, _ in finished) == ["a", "b", "c"]
    assert all(len(m.windows) == 5 for _, m in finished)
    assert sum(steps) == 15


def test_the_order_is_drawn_from_the_seed(begin, make_window):
    orders = []
    for seed in (1, 1, 2):
        session, _, _ = begin("abcd", rng=random.Random(seed))
        bench = FakeBench(make_window())
        session.run(bench)
        orders.append(bench.windows())
    assert orders[0] == orders[1] != orders[2]


def test_each_is_warm_before_any_is_measured(begin, make_window):
    session, _, _ = begin("ab")
    bench = FakeBench(make_window())
    session.run(bench)
    verbs = [verb for verb, _ in bench.asked]
    assert verbs[:4] == ["prepare", "warm_up"] * 2
    assert set(verbs[4:]) == {"window"}


def test_a_measurement_is_handed_over_at_once(begin, make_window):
    """Where all stops in the last turn of the last round, those before it are finished."""
    session, _, _ = begin("abc", rng=random.Random(5))
    bench = FakeBench(make_window())
    session.run(bench)
    *before, last = bench.windows()[-3:]
    session, finished, _ = begin("abc", rng=random.Random(5))
    with pytest.raises(KeyboardInterrupt):
        session.run(FakeBench(make_window(), faults={("window", last, 5): KeyboardInterrupt()}))
    assert [model for model, _ in finished] == before


def test_idle_is_measured_once_a_round_where_something_sees_it(begin, make_window):
    session, finished, _ = begin("ab")
    bench = FakeBench(make_window(gpu_w=50.0), idles=True)
    session.run(bench)
    assert Counter(verb for verb, _ in bench.asked)["idle"] == 5
    assert finished[0][1].idle_power_w == {"gpu": pytest.approx(50.0)}
    without = FakeBench(make_window())
    begin("ab")[0].run(without)
    assert ("idle", "") not in without.asked


@pytest.mark.parametrize("where", [("prepare", "b", 1), ("warm_up", "b", 1), ("window", "b", 3)])
def test_what_one_cannot_do_is_its_own_failure(begin, make_window, where):
    session, finished, steps = begin("abc")
    session.run(FakeBench(make_window(), faults={where: MeasurementError("no kernel for it")}))
    assert sorted(m for m, _ in finished) == ["a", "c"]
    assert [(s.run.model, why) for s, why in session.failures] == [("b", "no kernel for it")]
    assert session.waiting == []
    assert sum(steps) == 15  # the bar reaches its end


def test_the_one_that_kills_the_worker_is_blamed_and_the_others_go_on(begin, make_window):
    session, finished, _ = begin("abc")
    with pytest.raises(WorkerDied):
        session.run(FakeBench(make_window(), faults={("window", "b", 3): WorkerDied("killed")}))
    assert [(s.run.model, why) for s, why in session.failures] == [("b", "killed")]
    after = FakeBench(make_window())
    session.run(after)
    assert sorted(m for m, _ in finished) == ["a", "c"]
    assert [len(m.windows) for _, m in finished] == [5, 5]
    assert len(after.windows()) < 10  # those made before are kept
    assert after.asked.count(("prepare", "a")) == 1


def test_all_have_failed_where_the_worker_dies_in_nobodys_turn(begin, make_window):
    session, finished, _ = begin("abc")
    with pytest.raises(WorkerDied):
        session.run(FakeBench(make_window(), idles=True, faults={("idle", "", 2): WorkerDied("gone")}))
    assert finished == session.waiting == []
    assert len(session.failures) == 3
