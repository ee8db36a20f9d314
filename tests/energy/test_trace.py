"""Sampled power: its integral, and the sampler over the fake driver in a process of its own."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ptprof.energy.trace import PowerTrace, cross_check, integral
from ptprof.errors import EnergyError, UsageError
from ptprof.records import PowerSamples


def _samples(points):
    times, powers = zip(*points, strict=True)
    return PowerSamples(
        device_id="GPU-0", reading="instant power", interval_s=0.02, time_s=times, power_w=powers
    )


@settings(deadline=None)
@given(
    start=st.floats(0.0, 3.0),
    length=st.floats(0.0, 3.0),
    offset_w=st.floats(0.0, 500.0),
    slope=st.floats(0.0, 50.0),
    step_s=st.floats(0.01, 0.1),
)
def test_a_power_that_is_linear_is_integrated_exactly(start, length, offset_w, slope, step_s):
    count = math.ceil(7.0 / step_s)
    samples = _samples([(i * step_s, offset_w + slope * i * step_s) for i in range(count)])
    expected = offset_w * length + slope * ((start + length) ** 2 - start**2) / 2
    assert integral(samples, start, start + length) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_neighbouring_stretches_add_up():
    samples = _samples([(i * 0.02, 300.0 + 250.0 * math.sin(i)) for i in range(200)])
    parts = [integral(samples, a, b) for a, b in [(0.013, 1.2345), (1.2345, 1.24), (1.24, 3.9)]]
    assert sum(parts) == pytest.approx(integral(samples, 0.013, 3.9))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([(0.5, 1.0), (2.0, 1.0)], "does not cover"),
        ([(0.0, 1.0), (0.9, 1.0)], "does not cover"),
        ([(0.0, 1.0), (0.2, 1.0), (0.9, 1.0), (1.1, 1.0)], "not sampled for 0.7 s"),
    ],
)
def test_what_was_not_sampled_is_no_figure(points, words):
    with pytest.raises(EnergyError, match=words):
        integral(_samples(points), 0.1, 1.0)


def test_counter_and_samples_are_held_against_each_other():
    assert cross_check(100.0, 104.9) is None
    assert cross_check(100.0, 95.1) is None
    assert cross_check(100.0, 108.0) == "sampled power gives 8% more than the counter"
    assert cross_check(100.0, 75.0) == "sampled power gives 25% less than the counter"


@pytest.mark.parametrize(
    "fault",
    [{"time_s": (0.0, 0.0)}, {"time_s": (0.0,)}, {"power_w": (1.0, -1.0)}, {"power_w": (1.0, math.nan)}],
)
def test_samples_that_cannot_be_are_refused(fault):
    fields = {
        "device_id": "x",
        "reading": "y",
        "interval_s": 0.02,
        "time_s": (0.0, 1.0),
        "power_w": (1.0, 1.0),
    }
    with pytest.raises(ValidationError):
        PowerSamples(**(fields | fault))


@pytest.mark.parametrize("interval_s", [0.0, 0.009, 0.2, math.nan])
def test_samples_are_neither_too_dense_nor_too_few(interval_s):
    with pytest.raises(UsageError, match=r"every 0\.01 to 0\.1 s"):
        PowerTrace(["GPU-0"], interval_s)


TRACE = """
import json, sys, time
from ptprof.energy import MonotonicClock, trace as traces
from ptprof.energy.trace import PowerTrace
from ptprof.errors import EnergyError
traces.LARGEST_GAP_S = traces.LATE_S = 60.0  # a machine that is busy otherwise is none of this
clock = MonotonicClock()
uuids = json.loads(sys.argv[1])
with PowerTrace(uuids) as trace:
    begun_s = clock.now()
    time.sleep(float(sys.argv[2]))
    ended_s = clock.now()
    found = {}
    for uuid in uuids:
        try:
            samples = trace.samples(uuid, begun_s, ended_s)
            found[uuid] = [trace.joules(uuid, begun_s, ended_s) / (ended_s - begun_s), len(samples.time_s)]
        except EnergyError as error:
            found[uuid] = str(error)
late = trace.joules(uuids[0], begun_s, ended_s) if uuids[0] in trace.readings else None
print(json.dumps({"found": found, "readings": trace.readings, "missing": trace.missing, "late": late}))
"""


def test_every_board_is_sampled_on_the_clock_of_this_process(run_fake):
    done = run_fake(TRACE, '["GPU-fake-1", "GPU-fake-0", "GPU-other"]', 0.4, FAKE_NVML_BOARDS=2)
    assert done["found"]["GPU-fake-0"][0] == pytest.approx(300.0)
    assert done["found"]["GPU-fake-1"][0] == pytest.approx(600.0)
    assert done["found"]["GPU-fake-0"][1] >= 2
    assert set(done["readings"].values()) == {"instant power"}
    assert done["missing"] == {"GPU-other": "there is no GPU 'GPU-other'"}
    assert done["found"]["GPU-other"] == "there is no GPU 'GPU-other'"
    assert done["late"] > 0


@pytest.mark.parametrize(
    ("capability", "reading"), [(90, "mean power of the last second"), (80, "instant power")]
)
def test_what_older_drivers_give_is_called_by_its_name(run_fake, capability, reading):
    done = run_fake(TRACE, '["GPU-fake-0"]', 0.2, FAKE_NVML_NO_INSTANT=1, FAKE_NVML_CAPABILITY=capability)
    assert done["readings"] == {"GPU-fake-0": reading}
    assert done["found"]["GPU-fake-0"][0] == pytest.approx(300.0)


def test_a_board_without_power_or_driver_says_so(run_fake):
    both = {"FAKE_NVML_NO_INSTANT": 1, "FAKE_NVML_FAIL": "nvmlDeviceGetPowerUsage 3"}
    assert "no such counter" in run_fake(TRACE, '["GPU-fake-0"]', 0.0, **both)["missing"]["GPU-fake-0"]
    failed = run_fake(TRACE, '["GPU-fake-0"]', 0.0, FAKE_NVML_FAIL="nvmlInitWithFlags 9")
    assert failed["missing"] == {"GPU-fake-0": "the NVIDIA driver is not loaded"}


def test_a_sampler_that_dies_is_a_reason(run_fake):
    script = """
import json, os, signal, time
from ptprof.energy.trace import PowerTrace
from ptprof.errors import EnergyError
with PowerTrace(["GPU-fake-0"]) as trace:
    begun_s = time.monotonic()
    os.kill(trace._process.pid, signal.SIGKILL)
    trace._process.wait()
    try:
        trace.joules("GPU-fake-0", begun_s, time.monotonic())
    except EnergyError as error:
        print(json.dumps(str(error)))
"""
    assert "does not cover the window" in run_fake(script)


def test_the_sampler_ends_with_whoever_started_it(run_fake):
    script = """
import json, os
from ptprof.energy.trace import PowerTrace
trace = PowerTrace(["GPU-fake-0"]).__enter__()
print(json.dumps(trace._process.pid), flush=True)
os._exit(0)
"""
    pid = run_fake(script)
    # The end of its standard input ends it; /proc would still show it otherwise, or show another program.
    for _ in range(3000):
        if "ptprof.energy.sampler" not in _command(pid):
            break
        time.sleep(0.01)
    assert "ptprof.energy.sampler" not in _command(pid)


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
