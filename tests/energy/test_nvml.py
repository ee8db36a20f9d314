"""The real nvidia-ml-py over a driver library that these tests compile, each case in a process of its own."""

from __future__ import annotations

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


def test_the_counter_gives_the_power(run_fake):
    found = run_fake(METER, "null", 0.7, FAKE_NVML_WATTS=250)
    energy = found["gpu"]
    truth = 250 * found["duration_s"]
    assert energy["low"] <= truth <= energy["high"]
    assert energy["joules"] == pytest.approx(truth, rel=0.1)
    assert (energy["gain_id"], energy["source"]) == ("GPU-fake-0", "measured")
    assert energy["sensor"] == "NVML energy counter"


WATTAGE = """
import json, time
from ptprof.energy import EnergyMeter
from ptprof.energy.combine import random_error
with EnergyMeter([0]) as meter, meter.window() as window:
    time.sleep(2.0)
    while not window.ticked():
        time.sleep(0.001)
print(json.dumps([window.gpu.joules / window.duration_s, random_error(window.gpu) / window.duration_s]))
"""


def test_a_window_that_ends_on_a_tick_gives_the_power_to_a_per_cent(run_fake):
    """To 1 %, and to what it says itself that it cannot know: on a busy machine an edge may be seen late."""
    power_w, unknown_w = run_fake(WATTAGE, FAKE_NVML_WATTS=417)
    assert abs(power_w - 417) < 4.17 + unknown_w


def test_boards_are_chosen_by_uuid_and_index(run_fake):
    found = run_fake(
        METER, '[0, "GPU-fake-0"]', 0.5, FAKE_NVML_BOARDS=3, FAKE_NVML_WATTS=100, CUDA_VISIBLE_DEVICES="2,1"
    )
    power = {uuid: e["joules"] / found["duration_s"] for uuid, e in found["gpus"].items()}
    assert power == pytest.approx({"GPU-fake-2": 300, "GPU-fake-0": 100}, rel=0.3)
    assert found["gpu"]["gain_id"] == "GPU-fake-0+GPU-fake-2"


def test_mig_is_refused_in_words(run_fake):
    found = run_fake(METER, "[0]", 0.1, FAKE_NVML_MIG=1)
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
def test_what_the_driver_refuses_is_a_reason_and_no_zero(run_fake, failing, words):
    found = run_fake(METER, "null", 0.1, FAKE_NVML_FAIL=failing)
    assert found["gpu"] is None
    assert words in found["missing"]["gpu"]


def test_a_board_without_mig_mode_is_measured(run_fake):
    found = run_fake(METER, "null", 0.3, FAKE_NVML_FAIL="nvmlDeviceGetMigMode 3")
    assert found["gpu"]["joules"] > 0


def test_a_counter_that_begins_anew_is_refused(run_fake):
    found = run_fake(METER, "null", 2.5, FAKE_NVML_RESET_S=2)
    assert found["gpu"] is None
    assert "GPU-fake-0 went backwards" in found["missing"]["gpu"]


def test_a_gpu_that_is_not_there_is_an_error(run_fake):
    assert run_fake(METER, "[1]", 0.1)["error"] == "there is no GPU 1: 1 visible"


def test_no_driver(run_fake):
    found = run_fake(METER, "null", 0.1, LD_LIBRARY_PATH="")
    if found["gpu"] is None:  # on a machine without a driver of its own
        assert "no NVIDIA driver is installed" in found["missing"]["gpu"]


def test_the_probe_tells_what_is_here(run_fake):
    gpu, cpu, dram = run_fake(PROBE)
    assert (gpu["component"], gpu["device"], gpu["device_id"]) == ("gpu", "Fake H200", "GPU-fake-0")
    assert gpu["source"] == "measured"
    assert 0.05 < gpu["tick_s"] < 0.2
    assert "590.48.01" in gpu["detail"]
    assert (cpu["component"], dram["component"]) == ("cpu", "dram")


def test_the_probe_tells_why_not(run_fake):
    assert "split by MIG" in run_fake(PROBE, FAKE_NVML_MIG=1)[0]["detail"]
    assert (
        run_fake(PROBE, FAKE_NVML_FAIL="nvmlInitWithFlags 9")[0]["detail"]
        == "the NVIDIA driver is not loaded"
    )
    assert run_fake(PROBE, FAKE_NVML_BOARDS=0)[0]["detail"] == "the NVIDIA driver lists no GPU"
