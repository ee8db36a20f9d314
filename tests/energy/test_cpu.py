"""The model of the CPU: CPU seconds, whoever of the process spends them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from ptprof.energy import CPU_WATTS_PER_CORE, CpuModel


def _burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_threads_count_and_sleep_does_not():
    model = CpuModel(10.0)
    threads = [threading.Thread(target=_burn, args=(0.1,)) for _ in range(2)]
    before = model.read()
    time.sleep(0.3)
    asleep = model.read() - before
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    burnt = model.read() - before - asleep
    assert asleep < 0.1 * 10.0
    assert burnt >= 0.2 * 10.0


def test_children_count_when_they_have_ended():
    code = "import time\nwhile time.process_time() < 0.3: pass"
    before = CpuModel(1.0).read()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert CpuModel(1.0).read() - before >= 0.3


def test_other_watts_have_another_gain():
    """Errors of different assumptions must not cancel in a comparison."""
    assert CpuModel().gain_id == CpuModel(CPU_WATTS_PER_CORE).gain_id == "cpu-model"
    assert CpuModel(8.0).gain_id == CpuModel(8.0).gain_id != "cpu-model"


@pytest.mark.parametrize(
    ("tdp_w", "cores"),
    [(500, 128), (360, 96), (350, 60), (270, 40), (250, 28), (280, 32), (205, 24)],
)
def test_the_default_spans_what_server_processors_are_designed_for(tdp_w, cores):
    """EPYC 9755, 9654; Xeon 8490H, 8380, 8280's bin at 250 W; EPYC 7601-class at 280 W; Xeon 8268."""
    model = CpuModel()
    low, high = (model.watts_per_core * (1 + sign * model.systematic) for sign in (-1, 1))
    assert low <= tdp_w / cores <= high
