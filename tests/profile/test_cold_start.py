"""Cold starts: by a process whose parts take what they are told to, and by a real one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ptprof.energy import EnergyMeter
from ptprof.energy.combine import energy
from ptprof.errors import MeasurementError, StudyError
from ptprof.profile import cold_start
from ptprof.profile.bench import Setup
from ptprof.profile.fresh import FreshProcess, Job, Part, energy_of_process, job_of
from ptprof.profile.protocol import QUICK
from ptprof.profile.scenarios import scenario
from ptprof.profile.summary import Subject
from ptprof.records import EnergyBreakdown

TWICE = replace(QUICK, windows=2, most_windows=2)
COLD = scenario("cold-start", batch=1, steps=10)
JOB = Job("eager", "cpu", 1, "fp32", False, None, "study", "fno-quick-s0", None)


@dataclass
class Board:
    """A board that takes 100 W all the time."""

    clock: object
    component: str = "gpu"
    device_id: str = "GPU-a"
    name: str = "a board"
    source: str = "measured"
    systematic: float = 0.05
    gain_id: str = "GPU-a"
    ticks: bool = False

    def read(self):
        return 100.0 * self.clock.now()


class Process:
    """Does each part in so many seconds of a clock, and as many CPU seconds."""

    def __init__(self, clock, seconds, job):
        self.spawned_s = clock.now()
        self._clock = clock
        self._seconds = seconds
        self._cpu_s = 0.0
        self.told = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def go_on(self):
        self.told += 1

    def until(self, part):
        assert part in cold_start.PARTS or self.told
        taken = self._seconds.get(part, 0.0)
        self._clock.sleep(taken)
        self._cpu_s += taken
        facts = {"load": {"provider": "p", "nfe": None}}
        facts["end"] = {"peak_host_bytes": 7, "peak_device_bytes": None}
        return Part(self._clock.now(), self._cpu_s, facts.get(part, {}))


SECONDS = {
    "start": 0.5,
    "import": 2.0,
    "load": 1.0,
    "prepare": 0.25,
    "first_query": 0.75,
    "again": 3.0,
    "next_query": 0.125,
}


def test_parts_add_up_to_the_first_answer_and_so_does_the_energy(clock, monkeypatch):
    monkeypatch.setattr(cold_start, "FreshProcess", lambda job: Process(clock, SECONDS, job))
    with EnergyMeter(sensors=[Board(clock)], clock=clock) as meter:
        found = cold_start.start(JOB, meter, 6.0)
    assert found.seconds == {part: SECONDS[part] for part in cold_start.PARTS}
    assert found.total_s == 4.5
    assert found.next_query_s == 0.125
    # The query that follows is no part of a start.
    assert found.energy.gpu.joules == pytest.approx(450.0)
    assert found.energy.cpu is None
    assert (found.prepared.provider, found.prepared.peak_host_bytes) == ("p", 7)
    window = found.window(found.at_s - 10.0)
    assert (window.start_s, window.duration_s, window.calls, window.latencies_s) == (10.0, 4.5, 1, (4.5,))


def test_the_model_of_the_cpu_takes_the_seconds_of_the_process_that_worked():
    waiting = energy(0.06, 0.0, systematic=0.5, gain_id="cpu-model", source="modelled", sensor="s")
    found = energy_of_process(EnergyBreakdown(cpu=waiting), 2.0, 6.0).cpu
    assert (found.joules, found.low, found.high, found.gain_id) == (12.0, 6.0, 18.0, "cpu-model")
    counted = EnergyBreakdown(cpu=waiting.model_copy(update={"source": "measured"}))
    assert energy_of_process(counted, 2.0, 6.0) == counted
    assert energy_of_process(EnergyBreakdown(), 2.0, 6.0).cpu is None


@pytest.fixture
def setup(study):
    return Setup(study.root, "eager", "cpu", 6.0, threads=1)


def subject(run, **changes):
    return replace(Subject(run, "eager", "cpu", COLD, run.checkpoint_sha256, threads=1), **changes)


def test_real_processes_are_started_and_measured(study, setup):
    run = study.run("fno")
    not_exported = subject(run, runtime="onnxruntime")
    finished, steps = [], []
    failures = cold_start.measure(
        [subject(run), not_exported], TWICE, setup, emit=lambda one, m: finished.append(m), step=steps.append
    )
    ((failed, why),) = failures
    assert (failed, "is not what was exported" in why) == (not_exported, True)
    assert sum(steps) == 4
    (m,) = finished
    assert (m.scenario, m.steps, m.batch, m.provider, m.threads) == ("cold-start", 1, 1, "torch cpu", 1)
    parts = [m.phases.start_s, m.phases.import_s, m.phases.load_s, m.phases.prepare_s, m.phases.first_query_s]
    assert math.fsum(part.value for part in parts) == pytest.approx(m.latency_s.value)
    assert all(part.value > 0 for part in parts)
    assert m.latency_s.low < m.latency_s.value < m.latency_s.high
    assert m.phases.repetitions == len(m.windows) == 2
    # To import torch alone takes more than half a CPU second.
    assert m.energy_per_query.cpu.joules > 3.0
    assert m.energy_per_query.cpu.source == "modelled"
    assert m.peak_host_bytes > 100 << 20


def test_how_a_process_died_is_told_in_one_line():
    with FreshProcess(replace(JOB, runtime=["not a name"])) as process:
        process.until("start")
        with pytest.raises(MeasurementError, match=r"^the process died with status 1: TypeError: unhashable"):
            process.until("import")


def test_a_runtime_that_is_not_known_is_said_in_one_line():
    with FreshProcess(replace(JOB, runtime="tensorflow")) as process:
        process.until("start")
        with pytest.raises(MeasurementError, match=r"^unknown runtime 'tensorflow'"):
            process.until("import")


def test_a_file_that_is_not_what_was_exported_is_refused(study, setup):
    run = study.run("fno")
    with pytest.raises(
        StudyError, match=r"onnx file of fno-quick-s0 is not what was exported: run `ptprof export"
    ):
        job_of(setup, subject(run, runtime="onnxruntime"), state=str(Path("s.npy")))
