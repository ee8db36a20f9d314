"""From a study to measurements in it: what is made, what is kept, what is refused."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ptprof.errors import DataError, MeasurementError, RuntimeUnavailable, StudyError, UsageError
from ptprof.profile import profile, protocol
from ptprof.profile.bench import Info, Prepared, device_id, query_states
from ptprof.profile.worker import WorkerBench
from ptprof.records import Environment
from ptprof.study import Study, write_record

MACHINE = Environment(platform="p", python="3", cpu="c", cpu_cores=2, memory_bytes=1)


class FakeBench:
    """Gives the same window to all, and counts those it gave."""

    given = 0

    def __init__(self, window):
        self.info = Info(device_id("cpu"), MACHINE, measures_idle=False)
        self._window = window

    def prepare(self, run, scenario):
        return Prepared("p", 1, None)

    def warm_up(self, run, scenario, protocol):
        return 1

    def window(self, run, scenario, protocol, number):
        type(self).given += 1
        return self._window

    def idle(self, seconds):
        raise NotImplementedError


@pytest.fixture
def fake(make_window):
    """Benches that count their windows in ``fake.given`` and take nothing from the CPU model but 6 W."""
    window = make_window(100)
    cpu = window.energy.cpu.model_copy(update={"sensor": "CPU seconds × 6 W per core"})
    window = window.model_copy(update={"energy": window.energy.model_copy(update={"cpu": cpu})})

    class Fake(FakeBench):
        given = 0

        @classmethod
        @contextmanager
        def open(cls, setup):
            yield cls(window)

    return Fake


def _measure(study, fake, **settings):
    return profile(study, ["fno"], **({"runtimes": ["eager"], "open_bench": fake.open} | settings))


@pytest.fixture
def brief(monkeypatch):
    """The quick protocol without its patience, on one thread."""
    monkeypatch.setitem(protocol.PROTOCOLS, "quick", replace(protocol.QUICK, warm_up_s=0.0, window_s=0.01))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("brief")
def test_a_real_worker_measures_both_scenarios(study):
    one_step, rollout = profile(study, ["fno"], runtimes=["eager"], batches=[2], steps=4)
    assert (one_step.scenario, one_step.steps) == ("one-step", 1)
    assert (rollout.scenario, rollout.steps) == ("rollout", 4)
    for m in (one_step, rollout):
        assert (m.runtime, m.provider, m.device, m.protocol) == ("eager", "torch cpu", "cpu", "quick")
        assert m.artifact_sha256 == study.run("fno").checkpoint_sha256
        assert m.device_id == m.environment.cpu
        assert len(m.windows) == 5
        assert m.energy_per_query.cpu.source == "modelled"
        assert m.energy_per_query.missing.keys() == {"gpu", "dram"}
        latencies = [seconds for window in m.windows for seconds in window.latencies_s]
        assert min(latencies) <= m.latency_s.value <= max(latencies)
    assert rollout.latency_s.value > one_step.latency_s.value
    assert sorted(study.measurements(), key=lambda m: m.scenario) == [one_step, rollout]


def test_the_full_protocol_takes_a_fresh_process_for_each_part(study, monkeypatch):
    """Its patience left out: three windows in three workers, under a model of the CPU that may be noisy."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    hasty = {"warm_up_s": 0.0, "most_warm_up_s": 0.0, "settle_s": 0.0, "window_s": 0.01, "idle_s": 0.01}
    full = replace(protocol.FULL, windows=3, most_windows=3, **hasty)
    monkeypatch.setitem(protocol.PROTOCOLS, "full", full)
    pids = []

    class Counted(WorkerBench):
        def __init__(self, setup):
            super().__init__(setup)
            pids.append(self._process.pid)

    (m,) = profile(
        study, ["fno"], runtimes=["eager"], scenarios=["one-step"], protocol="full", open_bench=Counted
    )
    assert len(set(pids)) == 3
    assert [window.process for window in m.windows] == [0, 1, 2]
    assert (m.protocol, m.threads) == ("full", 1)
    assert m.work.flops > 1e6
    assert m.percentiles[0].p == 50.0
    again = profile(
        study, ["fno"], runtimes=["eager"], scenarios=["one-step"], protocol="full", open_bench=Counted
    )
    assert again == [m]
    assert len(pids) == 3


def test_what_has_been_measured_is_not_measured_again(study, fake):
    first = _measure(study, fake)
    assert fake.given == 10
    assert _measure(study, fake) == first
    assert fake.given == 10
    assert len(study.measurements()) == 2


@pytest.mark.parametrize(
    ("change", "windows"),
    [
        ({"force": True}, 10),
        ({"batches": [3]}, 10),
        ({"steps": 20}, 5),
        ({"watts_per_core": 8.0}, 10),
        ({"scenarios": ["rollout"]}, 0),
    ],
)
def test_what_is_something_else_is_measured(study, fake, change, windows):
    _measure(study, fake)
    before = fake.given
    _measure(study, fake, **change)
    assert fake.given - before == windows


def test_a_model_that_was_trained_again_is_measured_again(study, fake):
    _measure(study, fake)
    run = study.run("fno")
    newer = run.model_copy(update={"created": "2999-01-01T00:00:00+00:00"})
    write_record(study.run_folder(run.run) / "run.json", newer)
    _measure(study, fake)
    assert fake.given == 20


def test_a_stop_keeps_what_is_finished_and_the_rest_goes_on(study, fake):
    class Stops(fake):
        def window(self, run, scenario, protocol, number):
            if scenario.name == "rollout":
                raise KeyboardInterrupt
            return super().window(run, scenario, protocol, number)

    with pytest.raises(KeyboardInterrupt):
        _measure(study, Stops)
    assert [m.scenario for m in study.measurements()] == ["one-step"]
    assert len(_measure(study, fake)) == 2
    assert fake.given == 5


@pytest.mark.usefixtures("brief")
def test_a_worker_that_dies_fails_its_candidate_alone(study):
    """The worker is killed in the first scenario; the second one is measured by another worker."""

    class Dies(WorkerBench):
        def window(self, run, scenario, protocol, number):
            if scenario.name == "one-step":
                os.kill(self._process.pid, signal.SIGKILL)
            return super().window(run, scenario, protocol, number)

    words = (
        "1 of 2 measurements could not be made; 1 others have been made: fno on eager: the worker was killed"
    )
    with pytest.raises(MeasurementError, match=words) as failure:
        profile(study, ["fno"], runtimes=["eager"], steps=2, open_bench=Dies)
    assert "\n" not in str(failure.value)
    assert [m.scenario for m in study.measurements()] == ["rollout"]


def test_a_bench_that_cannot_be_opened_fails_all_that_need_it(study):
    @contextmanager
    def missing(setup):
        raise RuntimeUnavailable("ONNX Runtime is not here")
        yield

    with pytest.raises(MeasurementError, match=r"2 of 2 .*: fno on eager: ONNX Runtime is not here"):
        profile(study, ["fno"], runtimes=["eager"], open_bench=missing)
    assert study.measurements() == []


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (
            {"runtimes": ["onnx-runtime"]},
            UsageError,
            "unknown runtime 'onnx-runtime'.*did you mean 'onnxruntime'",
        ),
        ({"scenarios": ["roll-out"]}, UsageError, "unknown scenario 'roll-out'.*did you mean 'rollout'"),
        ({"protocol": "fully"}, UsageError, "unknown protocol 'fully'"),
        ({"device": "gpu"}, UsageError, "unknown device 'gpu'"),
        ({"batches": [0]}, UsageError, "a batch holds 1 state or more, not 0"),
        ({"steps": 0}, UsageError, "a rollout has 1 step or more, not 0"),
        ({"watts_per_core": -1.0}, UsageError, "watts per core"),
        (
            {"runtimes": ["onnxruntime"]},
            StudyError,
            "not exported to onnx: `ptprof export fno --format onnx`",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(study, fake, settings, error, words):
    with pytest.raises(error, match=words):
        _measure(study, fake, **settings)
    assert fake.given == 0
    assert study.measurements() == []


def test_a_model_that_is_not_trained_is_refused(study, fake):
    with pytest.raises(StudyError, match="train it with `ptprof train unet`"):
        profile(study, ["unet"], runtimes=["eager"], open_bench=fake.open)


def test_a_study_without_data_is_refused(study, fake, tmp_path):
    run = study.run("fno")
    elsewhere = Study(tmp_path)
    write_record(elsewhere.run_folder(run.run) / "run.json", run)
    with pytest.raises(DataError):
        _measure(elsewhere, fake)


def test_the_states_are_windows_of_the_test_split(study):
    """Two windows of four states are in six times; a batch of five repeats them."""
    states = query_states(study, study.run("fno"), 5)
    assert states.shape == (5, 4, 4, 48, 96)
    assert states[0, 1:].equal(states[1, :-1])
    assert states[2].equal(states[0])
    assert not states[0].equal(states[1])
