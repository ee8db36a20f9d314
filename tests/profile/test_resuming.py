"""A sweep that is killed outright, and the one that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from ptprof.profile import profile, protocol

SWEEP = """
import sys, time
from dataclasses import replace
from ptprof.profile import profile, protocol
from ptprof.profile.worker import WorkerBench
from ptprof.study import Study

class Stuck(WorkerBench):
    def window(self, run, scenario, asked, number):
        if scenario.name != "one-step":
            time.sleep(600)  # the sweep is killed in the middle of this scenario
        return super().window(run, scenario, asked, number)

protocol.PROTOCOLS["quick"] = replace(protocol.QUICK, warm_up_s=0.0, window_s=0.01)
profile(Study(sys.argv[1]), ["fno"], runtimes=["eager"], steps=2, open_bench=Stuck)
"""


def _until(found, seconds=120.0):
    begun = time.monotonic()
    while not (result := found()):
        if time.monotonic() - begun > seconds:
            pytest.fail("the sweep did not come so far")
        time.sleep(0.05)
    return result


def test_a_killed_sweep_goes_on_and_repeats_nothing_that_is_finished(study, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sweep = subprocess.Popen([sys.executable, "-c", SWEEP, str(study.root)], stderr=subprocess.PIPE)
    try:
        _until(lambda: sweep.poll() is not None or list(study.root.glob("measurements/[!.]*.json")))
    finally:
        os.kill(sweep.pid, signal.SIGKILL)
        _, said = sweep.communicate()
    assert sweep.returncode == -signal.SIGKILL, said
    (path,) = study.root.glob("measurements/[!.]*.json")
    finished, written = path.read_bytes(), path.stat().st_mtime_ns
    assert [m.scenario for m in study.measurements()] == ["one-step"]

    monkeypatch.setitem(protocol.PROTOCOLS, "quick", replace(protocol.QUICK, warm_up_s=0.0, window_s=0.01))
    one_step, rollout = profile(study, ["fno"], runtimes=["eager"], steps=2)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (finished, written)
    assert sorted(study.measurements(), key=lambda m: m.scenario) == [one_step, rollout]
    assert one_step.model_dump_json(indent=1) + "\n" == finished.decode()
