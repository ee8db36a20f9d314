"""What is here and what is not, in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ptprof.energy import probe


@pytest.fixture
def socket(tmp_path):
    """One package with memory."""
    for folder, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram")):
        path = tmp_path / folder
        path.mkdir()
        (path / "name").write_text(name)
        (path / "energy_uj").write_text("1")
        (path / "max_energy_range_uj").write_text("262143328850")
    return tmp_path


def _host(root):
    return [found for found in probe(rapl_root=root) if found.component != "gpu"]


def test_sockets_that_can_be_read(socket):
    cpu, dram = _host(socket)
    assert (cpu.component, cpu.device_id, cpu.sensor, cpu.source) == (
        "cpu",
        "package-0",
        "RAPL package",
        "measured",
    )
    assert "the whole socket, whoever uses it, ± 10%" in cpu.detail
    assert (dram.component, dram.sensor, dram.source) == ("dram", "RAPL DRAM", "measured")


def test_a_socket_that_cannot_be_read_and_what_stands_in(socket):
    (socket / "intel-rapl:0" / "energy_uj").write_text("nonsense")
    found = {one.component: one for one in _host(socket)}
    assert found["cpu"].source == "modelled"
    assert "± 50%; RAPL's package-0: energy_uj cannot be read" in found["cpu"].detail
    assert found["dram"].source == "measured"


def test_no_socket(tmp_path):
    cpu, dram = _host(tmp_path)
    assert (cpu.source, dram.source) == ("modelled", None)
    assert cpu.detail.endswith("no RAPL here")
    assert dram.detail == "no RAPL here"


OPINIONS = """
import json
from ptprof.energy import second_opinions
print(json.dumps([opinion.model_dump() for opinion in second_opinions()]))
"""


@pytest.mark.parametrize(
    ("settings", "here", "words"),
    [
        ({}, [True, True], "instant power"),
        ({"FAKE_NVML_NO_INSTANT": 1}, [False, True], "no instant power, but mean power of the last second"),
        ({"FAKE_NVML_BOARDS": 0}, [False, False], "the NVIDIA driver lists no GPU"),
    ],
)
def test_second_opinions(run_fake, settings, here, words):
    sampled, tracker = run_fake(OPINIONS, **settings)
    assert [sampled["here"], tracker["here"]] == here
    assert words in sampled["detail"]
    assert tracker["name"] == "Carbontracker 2.4.7"


def test_the_doctor_of_a_machine_with_nothing_says_so_and_is_content(fake_nvidia):
    environ = {
        **os.environ,
        "LD_LIBRARY_PATH": str(fake_nvidia),
        "FAKE_NVML_FAIL": "nvmlInitWithFlags 9",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "ptprof", "doctor", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    gpu = next(sensor for sensor in found["sensors"] if sensor["component"] == "gpu")
    assert (gpu["source"], gpu["detail"]) == (None, "the NVIDIA driver is not loaded")
    assert {sensor["component"] for sensor in found["sensors"]} == {"gpu", "cpu", "dram"}
    assert all(sensor["source"] or sensor["detail"] for sensor in found["sensors"])
    assert [opinion["here"] for opinion in found["second_opinions"]] == [False, False]
    cuda = [runtime for runtime in found["runtimes"] if runtime["device"] == "cuda:0"]
    assert cuda
    assert all(runtime["provider"] is None and runtime["detail"] for runtime in cuda)
