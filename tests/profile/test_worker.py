"""A worker in a process of its own: that it measures, how it dies, and that it never outlives its use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ptprof.errors import StudyError, UsageError
from ptprof.profile.bench import Setup
from ptprof.profile.protocol import QUICK
from ptprof.profile.scenarios import scenario
from ptprof.profile.worker import WorkerBench, WorkerDied

BRIEF = replace(QUICK, warm_up_s=0.0, window_s=0.05)


@pytest.fixture
def setup(study, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Setup(study.root, "eager", "cpu", 6.0)


def test_a_worker_measures(study, setup):
    run = study.run("fno")
    with WorkerBench(setup) as bench:
        query = scenario("rollout", batch=2, steps=3)
        prepared = bench.prepare(run, query)
        assert bench.warm_up(run, query, BRIEF) == 1
        window = bench.window(run, query, BRIEF, 0)
        with pytest.raises(StudyError, match="checkpoint"):
            bench.prepare(run.model_copy(update={"run": "fno-quick-s9"}), query)
        again = bench.window(run, query, BRIEF, 0)
    assert prepared.provider == "torch cpu"
    assert prepared.peak_host_bytes > 100 << 20
    assert prepared.peak_device_bytes is None
    assert window.calls == len(window.latencies_s) >= 3 or window.duration_s >= 0.05
    assert window.energy.cpu.source == "modelled"
    assert window.energy.missing["gpu"] == "no GPU was to be metered"
    assert again.start_s >= window.start_s + window.duration_s
    assert not bench.info.measures_idle
    assert _gone(bench._process.pid)


def test_deaths_are_told_in_one_line(setup):
    with WorkerBench(setup) as bench:
        os.kill(bench._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied, match=r"^the worker was killed: most likely .* out of memory$"):
            bench.idle(0.1)
    with WorkerBench(setup) as bench, pytest.raises(WorkerDied, match="status 1: ValueError: a bench has no"):
        bench._ask("exit")


def test_a_worker_that_cannot_begin_says_why(setup):
    with pytest.raises(UsageError, match="unknown runtime 'tensorflow'"):
        WorkerBench(replace(setup, runtime="tensorflow"))


def test_a_worker_ends_with_whoever_started_it(setup):
    code = f"""
import os, pathlib
from ptprof.profile.bench import Setup
from ptprof.profile.worker import WorkerBench, WorkerDied
bench = WorkerBench(Setup(pathlib.Path({str(setup.study)!r}), "eager", "cpu", 6.0))
print(bench._process.pid, flush=True)
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    pid = int(done.stdout)
    for _ in range(200):
        if _gone(pid):
            return
        subprocess.run(["sleep", "0.05"], check=True)
    pytest.fail("the worker outlives the process that started it")


def _gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its status yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"
