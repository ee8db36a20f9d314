"""Which candidates there are, which of them are left out, and which boards are metered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from ptprof.errors import EnergyError, MeasurementError, RuntimeUnavailable, StudyError, UsageError
from ptprof.profile import matrix, profile
from ptprof.profile.bench import Info, Prepared, Setup, device_id
from ptprof.profile.scenarios import scenario
from ptprof.progress import progress_bar
from ptprof.records import Environment, PinnRecord

MACHINE = Environment(platform="p", python="3", cpu="c", cpu_cores=2, memory_bytes=1)
ONE_STEP = scenario("one-step", batch=1, steps=1)
ROLLOUT = scenario("rollout", batch=1, steps=10)


class FakeBench:
    """Gives the same window to all."""

    def __init__(self, window):
        self.info = Info(device_id("cpu"), MACHINE, measures_idle=False)
        self._window = window

    def prepare(self, run, scenario):
        return Prepared("p", 1, None)

    def warm_up(self, run, scenario, protocol):
        return 1

    def window(self, run, scenario, protocol, number):
        return self._window


@pytest.fixture
def open_bench(make_window):
    """Benches for all runtimes but ``torch.compile``, which is not here."""

    @contextmanager
    def open_bench(setup):
        if setup.runtime == "compile":
            raise RuntimeUnavailable("torch.compile needs a C++ compiler")
        yield FakeBench(make_window(100))

    return open_bench


@pytest.fixture
def setup(study):
    return Setup(study.root, "eager", "cpu", 6.0, threads=2)


def test_all_that_is_here_is_measured_and_the_rest_is_said(study, open_bench, capsys):
    with progress_bar() as bar:
        measured = profile(
            study,
            ["fno"],
            runtimes=["eager", "compile", "torchscript", "pt2"],
            scenarios=["one-step"],
            lenient=True,
            progress=bar,
            open_bench=open_bench,
        )
    assert [m.runtime for m in measured] == ["eager"]
    said = " ".join(capsys.readouterr().err.split())
    assert "left out on torchscript: fno: fno-quick-s0 is not exported to torchscript" in said
    assert "left out on pt2: fno: fno-quick-s0 is not exported to pt2" in said
    assert "left out on compile: fno: torch.compile needs a C++ compiler" in said
    assert "2 measurements: about 12 s of measuring, more where calls are long" in said


def test_a_runtime_that_is_asked_for_by_name_must_be_here(study, open_bench):
    with pytest.raises(StudyError, match="not exported to torchscript"):
        profile(study, ["fno"], runtimes=["eager", "torchscript"], open_bench=open_bench)
    with pytest.raises(MeasurementError, match=r"fno on compile: torch\.compile needs a C"):
        profile(study, ["fno"], runtimes=["eager", "compile"], open_bench=open_bench)


def test_nothing_to_run_at_all_is_an_error_even_so(study, open_bench):
    with pytest.raises(StudyError, match="not exported to torchscript"):
        profile(study, ["fno"], runtimes=["torchscript"], lenient=True, open_bench=open_bench)


def test_a_candidate_says_what_it_is(study, setup):
    (subject,), lacking = matrix.candidates(study, [study.run("fno")], ["eager"], [ONE_STEP], setup)
    assert lacking == []
    assert (subject.threads, subject.precision, subject.variant) == (2, "fp32", "")
    assert subject.sha256 == study.run("fno").checkpoint_sha256


def test_what_is_not_a_forecast_is_not_rolled_out(study, setup, make_run):
    run = study.run("fno")
    shared = {name: getattr(run, name) for name in PinnRecord.model_fields if hasattr(run, name)}
    own = {"model": "burgers-nn", "points": 100, "evaluations": 1, "stopped": "planned", "loss": 0.1}
    pinn = PinnRecord(**(shared | own | {"run": "burgers-nn-quick-s0", "kind": "pinn", "test_mse": 0.1}))
    subjects, _ = matrix.candidates(study, [pinn], ["eager"], [ONE_STEP, ROLLOUT], setup)
    assert [s.scenario.name for s in subjects] == ["one-step"]
    with pytest.raises(UsageError, match="is not rolled out"):
        matrix.candidates(study, [pinn], ["eager"], [ROLLOUT], setup)


def test_other_threads_and_other_precisions_are_other_measurements(study, open_bench, monkeypatch):
    opened = []

    def open_and_tell(setup):
        opened.append(setup)
        return open_bench(setup)

    def measure(**settings):
        (m,) = profile(
            study, ["fno"], runtimes=["eager"], scenarios=["one-step"], open_bench=open_and_tell, **settings
        )
        return m

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    first = measure()
    assert (first.threads, first.precision) == (1, "fp32")
    assert measure() == first
    assert len(opened) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert measure().threads == 2
    assert measure(precision="bf16").precision == "bf16"
    assert len(study.measurements()) == 3


def test_the_board_of_the_device_is_metered_and_none_for_the_cpu():
    assert matrix.boards_to_meter("cpu", None) == ()
    assert matrix.boards_to_meter("cuda:99", None) == (99,)  # no driver knows its UUID


def test_a_board_that_is_not_there_cannot_be_metered(study, open_bench):
    with pytest.raises(EnergyError):
        profile(study, ["fno"], runtimes=["eager"], meter_gpus=["99"], open_bench=open_bench)
    assert study.measurements() == []


def _under(driver, code, **environ):
    """What ``code`` prints in a process that finds the driver and its boards."""
    here = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    variables = here | {"LD_LIBRARY_PATH": str(driver), "OMP_NUM_THREADS": "1"} | environ
    done = subprocess.run(
        [sys.executable, *code], env=variables, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_on_the_cpu_is_measured_with_a_board_beside_it(study, fake_nvidia):
    """The second of two boards, which takes 2 × 150 W, to within 1 %."""
    asked = "profile fno --device cpu --meter-gpus 1 --runtime eager --scenario one-step --max-time 2 --json"
    (m,) = _under(
        fake_nvidia,
        ["-m", "ptprof", "--study", str(study.root), *asked.split()],
        FAKE_NVML_BOARDS="2",
        FAKE_NVML_WATTS="150",
    )
    watts = [w["energy"]["gpu"]["joules"] / w["duration_s"] for w in m["windows"]]
    assert watts == pytest.approx([300.0] * len(watts), rel=0.01)
    calls, seconds = (sum(w[key] for w in m["windows"]) for key in ("calls", "duration_s"))
    assert m["energy_per_query"]["gpu"]["joules"] == pytest.approx(300.0 * seconds / calls, rel=0.01)
    assert m["energy_per_query"]["gpu"]["source"] == "measured"
    assert m["idle_power_w"]["gpu"] == pytest.approx(300.0, rel=0.01)
    (board,) = m["environment"]["boards"]
    assert m["metered_gpus"] == [board["uuid"]]
    assert [b["uuid"] for b in m["windows"][0]["boards"]] == [board["uuid"]]
    assert board["power_limit_w"] > 0


def test_several_boards_are_summed(study, fake_nvidia):
    """A board by its number and another one by its UUID, 200 and 400 W."""
    code = f"""
import json, pathlib
from ptprof.profile import matrix
from ptprof.profile.bench import LocalBench, Setup
first, second = matrix.boards_to_meter("cpu", ["0", "1"])
gpus = matrix.boards_to_meter("cpu", ["1", first])
assert set(gpus) == {{first, second}}
with LocalBench(Setup(pathlib.Path({str(study.root)!r}), "eager", "cpu", 6.0, meter_gpus=gpus)) as bench:
    idle = bench.idle(1.0)
    print(json.dumps([idle.energy.gpu.joules / idle.duration_s, bench.info.metered_gpus, gpus]))
"""
    driver = {"FAKE_NVML_BOARDS": "2", "FAKE_NVML_WATTS": "200"}
    watts, metered, gpus = _under(fake_nvidia, ["-c", code], **driver)
    assert watts == pytest.approx(600.0, rel=0.01)
    assert sorted(metered) == sorted(gpus)
