"""The real nvidia-ml-py over a driver library that these tests compile, each case in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

METER = """
import json, sys, time
from ptprof.energy import EnergyMeter
from ptprof.errors import EnergyError
gpus, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
try:
    with EnergyMeter(gpus) as meter, meter.window() as window:
        time.sleep(seconds)
except EnergyError as error:
    print(json.dumps({"error": str(error)}))
else:
    gpus = {uuid: energy.model_dump() for uuid, energy in window.gpus.items()}
    print(json.dumps({"gpu": window.gpu and window.gpu.model_dump(), "gpus": gpus, "missing": window.missing,
                      "duration_s": window.duration_s}))
"""
PROBE = """
import json
from ptprof.energy import probe
print(json.dumps([found.model_dump() for found in probe()]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory, require_tool):
    """The folder of a fake libnvidia-ml.so.1."""
    compiler = require_tool("gcc")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", target, source], check=True)
    return folder


@pytest.fixture
def run(library):
    """Run a script over the fake driver; give what it printed as JSON."""

    def run(script, *arguments, **settings):
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "FAKE_"))}
        environ |= {"LD_LIBRARY_PATH": str(library), **{k: str(v) for k, v in settings.items()}}
        command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_the_counter_gives_the_power(run):
    found = run(METER, "null", 0.7, FAKE_NVML_WATTS=250)
    energy = found["gpu"]
    truth = 250 * found["duration_s"]
    assert energy["low"] <= truth <= energy["high"]
    assert energy["joules"] == pytest.approx(truth, rel=0.1)
    assert (energy["gain_id"], energy["source"]) == ("GPU-fake-0", "measured")
    assert energy["sensor"] == "NVML energy counter"


def test_boards_are_chosen_by_uuid_and_index(run):
    found = run(
        METER, '[0, "GPU-fake-0"]', 0.5, FAKE_NVML_BOARDS=3, FAKE_NVML_WATTS=100, CUDA_VISIBLE_DEVICES="2,1"
    )
    power = {uuid: e["joules"] / found["duration_s"] for uuid, e in found["gpus"].items()}
    assert power == pytest.approx({"GPU-fake-2": 300, "GPU-fake-0": 100}, rel=0.3)
    assert found["gpu"]["gain_id"] == "GPU-fake-0+GPU-fake-2"


def test_mig_is_refused_in_words(run):
    found = run(METER, "[0]", 0.1, FAKE_NVML_MIG=1)
    assert found["gpu"] is None
    assert "split by MIG" in found["missing"]["gpu"]


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ("nvmlInitWithFlags 9", "the NVIDIA driver is not loaded"),
        ("nvmlInitWithFlags 18", "of different versions"),
        ("nvmlDeviceGetCount_v2 999", "the number of GPUs: Unknown Error"),
        ("nvmlDeviceGetTotalEnergyConsumption 3", "this GPU has no such counter"),
        ("nvmlDeviceGetTotalEnergyConsumption 4", "refuses it to this user"),
        ("nvmlDeviceGetTotalEnergyConsumption 15", "fallen off the bus"),
        ("nvmlDeviceGetHandleByIndex_v2 15", "GPU 0: the GPU has fallen off the bus"),
    ],
)
def test_what_the_driver_refuses_is_a_reason_and_no_zero(run, failing, words):
    found = run(METER, "null", 0.1, FAKE_NVML_FAIL=failing)
    assert found["gpu"] is None
    assert words in found["missing"]["gpu"]


def test_a_board_without_mig_mode_is_measured(run):
    found = run(METER, "null", 0.3, FAKE_NVML_FAIL="nvmlDeviceGetMigMode 3")
    assert found["gpu"]["joules"] > 0


def test_a_counter_that_begins_anew_is_refused(run):
    found = run(METER, "null", 2.5, FAKE_NVML_RESET_S=2)
    assert found["gpu"] is None
    assert "GPU-fake-0 went backwards" in found["missing"]["gpu"]


def test_a_gpu_that_is_not_there_is_an_error(run):
    assert run(METER, "[1]", 0.1)["error"] == "there is no GPU 1: 1 visible"


def test_no_driver(run):
    found = run(METER, "null", 0.1, LD_LIBRARY_PATH="")
    if found["gpu"] is None:  # on a machine without a driver of its own
        assert "no NVIDIA driver is installed" in found["missing"]["gpu"]


def test_the_probe_tells_what_is_here(run):
    gpu, cpu, dram = run(PROBE)
    assert (gpu["component"], gpu["device"], gpu["device_id"]) == ("gpu", "Fake H200", "GPU-fake-0")
    assert gpu["source"] == "measured"
    assert gpu["tick_s"] == pytest.approx(0.1, rel=0.1)
    assert "590.48.01" in gpu["detail"]
    assert (cpu["source"], dram["source"], dram["detail"]) == ("modelled", None, "no DRAM sensor")


def test_the_probe_tells_why_not(run):
    assert "split by MIG" in run(PROBE, FAKE_NVML_MIG=1)[0]["detail"]
    assert run(PROBE, FAKE_NVML_FAIL="nvmlInitWithFlags 9")[0]["detail"] == "the NVIDIA driver is not loaded"
    assert run(PROBE, FAKE_NVML_BOARDS=0)[0]["detail"] == "the NVIDIA driver lists no GPU"
