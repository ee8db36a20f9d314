"""Rounds, failures and deaths, on a bench that measures nothing."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ptprof.energy import EnergyBreakdown
from ptprof.errors import MeasurementError
from ptprof.profile.bench import Info, Prepared
from ptprof.profile.protocol import FULL, QUICK
from ptprof.profile.scenarios import scenario
from ptprof.profile.session import Session
from ptprof.profile.summary import Subject
from ptprof.profile.worker import WorkerDied
from ptprof.records import BoardWindow, Environment, Idle

MACHINE = Environment(platform="p", python="3", cpu="c", cpu_cores=2, memory_bytes=1)
ONE_STEP = scenario("one-step", batch=1, steps=10)


class FakeBench:
    """Writes down what it is asked; ``faults`` maps (verb, model, how many times) to what is raised then.

    Every window is ``window``, or what it makes of the model and the window's number.
    """

    def __init__(self, window, *, idles=False, faults=None, device_idle=None):
        self.info = Info("a CPU", MACHINE, measures_idle=idles, device_idle=device_idle)
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

    def warm_up(self, run, scenario, protocol):
        self._ask("warm_up", run.model)
        return 1

    def window(self, run, scenario, protocol, number):
        self._ask("window", run.model)
        return self._window(run.model, number) if callable(self._window) else self._window

    def idle(self, seconds):
        self._ask("idle", "")
        window = self._window("", 0) if callable(self._window) else self._window
        return Idle(kind="context", duration_s=seconds, energy=window.energy)

    def windows(self):
        return [model for verb, model in self.asked if verb == "window"]


@pytest.fixture
def begin(make_run):
    """A session over models; finished ones are listed with the number of windows measured by then."""

    def begin(models, protocol=QUICK, **settings):
        subjects = [Subject(make_run(m, EnergyBreakdown()), "eager", "cpu", ONE_STEP, m) for m in models]
        finished = []
        steps = []
        session = Session(
            subjects,
            protocol,
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


def _through(session, open_bench):
    """Benches until no candidate waits; how many there were."""
    benches = []
    while session.waiting:
        benches.append(open_bench())
        session.run(benches[-1])
    return benches


def test_a_full_series_comes_from_three_processes(begin, make_window):
    """Three rounds, three rounds and the rest: each process warms up, and is idle before and after."""
    session, finished, steps = begin("ab", FULL)
    benches = _through(session, lambda: FakeBench(make_window(gpu_w=50.0), idles=True))
    assert [len(bench.windows()) for bench in benches] == [6, 6, 2]
    for bench in benches:
        verbs = [verb for verb, _ in bench.asked]
        assert verbs[:5] == ["prepare", "warm_up", "prepare", "warm_up", "idle"]
        assert verbs.count("idle") == 2
        assert verbs[-1] == "idle"
    assert len(finished) == 2
    for _, m in finished:
        assert [window.process for window in m.windows] == [0, 0, 0, 1, 1, 1, 2]
        assert [(idle.kind, idle.process) for idle in m.idle] == [("context", i // 2) for i in range(6)]
        assert (m.protocol, m.converged, m.unmet) == ("full", True, ())
    assert sum(steps) == 14


def test_the_board_without_a_context_is_kept_apart(begin, make_window):
    low, high = (make_window(duration_s=10.0, gpu_w=watts) for watts in (30.0, 100.0))
    alone = Idle(kind="device", duration_s=10.0, energy=low.energy)
    session, finished, _ = begin("a", FULL)
    _through(session, lambda: FakeBench(high, idles=True, device_idle=alone))
    (_, m) = finished[0]
    assert m.device_idle_power_w == {"gpu": pytest.approx(30.0)}
    assert m.idle_power_w["gpu"] == pytest.approx(1000.0 / FULL.idle_s)
    assert [idle.kind for idle in m.idle] == ["device", "context", "context"] * 3


def test_windows_go_on_until_the_figures_are_precise(begin, make_window):
    """±4 % from window to window: t(22) 4.09 % / sqrt(23) is 1.98 % at 97 %, and 22 give 2.03 %."""
    session, finished, steps = begin("a", FULL, extend=(beyond := []).append)
    _through(session, lambda: FakeBench(lambda model, number: make_window(960 if number % 2 else 1040)))
    (_, m) = finished[0]
    assert (len(m.windows), m.converged) == (23, True)
    assert (sum(beyond), sum(steps)) == (23 - 7, 23)


def test_disturbed_windows_are_made_again_and_kept_raw(begin, make_window):
    def window(model, number):
        return make_window(50, flags=("foreign load 40%",)) if number in (2, 5) else make_window(100)

    session, finished, _ = begin("a", FULL)
    _through(session, lambda: FakeBench(window))
    (_, m) = finished[0]
    assert [w.counts for w in m.windows] == [True, True, False, True, True, False, True, True, True]
    assert m.throughput_per_s.value == pytest.approx(100.0)
    assert m.converged
    assert "foreign load in 2 of 9 windows" in m.flags
    assert "2 disturbed windows of 9 are not in the figures" in m.flags


def test_what_is_always_disturbed_is_all_in_the_figures_and_has_not_converged(begin, make_window):
    session, finished, _ = begin("a", FULL)
    _through(session, lambda: FakeBench(make_window(100, flags=("throttled by hardware slowdown",))))
    (_, m) = finished[0]
    assert len(m.windows) == FULL.most_windows
    assert all(w.counts for w in m.windows)
    assert m.throughput_per_s.value == pytest.approx(100.0)
    assert not m.converged
    assert m.unmet == ("0 of 28 windows undisturbed: all are in the figures",)


def test_a_slower_clock_is_seen_against_the_windows_before(begin, make_window):
    def window(model, number):
        clock = 1.5e9 if number == 3 else 1.7e9
        return make_window(100, boards=(BoardWindow(uuid="GPU-a", sm_clock_hz=clock),))

    session, finished, _ = begin("a", FULL)
    _through(session, lambda: FakeBench(window))
    assert [w.flags for w in finished[0][1].windows].index(("clock drop -12%",)) == 3


def test_the_quick_protocol_flags_and_counts_them_all(begin, make_window):
    session, finished, _ = begin("a")
    _through(session, lambda: FakeBench(make_window(100, flags=("foreign load 40%",))))
    (_, m) = finished[0]
    assert len(m.windows) == 5
    assert m.converged
    assert m.flags == ("foreign load in 5 of 5 windows",)


def test_long_calls_get_fewer_windows_and_say_so(begin, make_window):
    session, finished, steps = begin("a")
    _through(session, lambda: FakeBench(make_window(1, 50.0)))
    (_, m) = finished[0]
    assert len(m.windows) == 2
    assert m.unmet[0] == "2 of 5 windows"
    assert m.unmet[0] in m.flags
    assert not m.converged
    assert sum(steps) == 5


def test_idle_power_that_drifts_is_flagged(begin, make_window):
    watts = iter([50.0, 50.0, 60.0, 60.0, 70.0, 70.0, 80.0, 80.0])

    def window(model, number):
        return make_window(100, duration_s=10.0, gpu_w=next(watts)) if model == "" else make_window(100)

    session, finished, _ = begin("a", FULL)
    _through(session, lambda: FakeBench(window, idles=True))
    assert "idle gpu power drifted by +40%" in finished[0][1].flags


def test_what_is_finished_is_handed_over_when_the_worker_dies(begin, make_window):
    """In the last process the first one is finished, and the second takes it down."""
    session, finished, _ = begin("ab", FULL)
    session.run(FakeBench(make_window()))
    session.run(FakeBench(make_window()))

    class Dies(FakeBench):
        def window(self, run, scenario, protocol, number):
            if self.windows():
                raise WorkerDied("killed")
            return super().window(run, scenario, protocol, number)

    last = Dies(make_window())
    with pytest.raises(WorkerDied):
        session.run(last)
    assert [model for model, _ in finished] == last.windows()
    assert len(finished) == len(session.failures) == 1
    assert session.waiting == []
