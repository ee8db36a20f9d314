"""The real Carbontracker over the fake driver: what it says, and how it ends."""

from __future__ import annotations

import re

import pytest

from ptprof.energy import carbontracker
from ptprof.energy.carbontracker import Carbontracker
from ptprof.errors import UsageError

TRACK = """
import json, os, signal, sys, time
from ptprof.energy.carbontracker import Carbontracker
gpus, interval_s, lengths = json.loads(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3])
found = []
with Carbontracker(gpus, interval_s) as tracker:
    for seconds in lengths:
        if seconds is None:
            os.kill(tracker._process.pid, signal.SIGKILL)
        tracker.start()
        time.sleep(seconds or 0.0)
        found.append(tracker.stop().model_dump())
print(json.dumps(found))
"""


def test_it_gives_the_power_that_is_drawn_without_its_pue(run_fake):
    (found,) = run_fake(TRACK, "[0]", 0.05, "[1.0]", FAKE_NVML_WATTS=250)
    assert found["joules"] == pytest.approx(250.0 * found["duration_s"], rel=1e-3)
    assert found["duration_s"] >= 1.0
    assert found["samples"] >= 1
    assert (found["pue"], found["version"], found["board"]) == (1.58, "2.4.7", "GPU-fake-0")


def test_what_it_did_not_sample_and_its_own_end_are_no_figures(run_fake):
    """A stretch between two of its samples, for which it would give the one before; then it is killed."""
    _, short, dead = run_fake(TRACK, "[0]", 60.0, "[1.0, 0.0, null]")
    assert (short["joules"], short["samples"]) == (None, 0)
    assert "Carbontracker took no sample in" in short["missing"]
    assert (dead["joules"], dead["missing"]) == (None, "Carbontracker was ended by signal SIGKILL")


def test_its_board_is_the_one_that_was_meant(run_fake):
    """It would take all boards where it is told one by UUID."""
    (found,) = run_fake(
        TRACK,
        '["GPU-fake-2"]',
        0.05,
        "[1.0]",
        FAKE_NVML_BOARDS=3,
        FAKE_NVML_WATTS=100,
        CUDA_VISIBLE_DEVICES="2",
    )
    assert found["joules"] == pytest.approx(300.0 * found["duration_s"], rel=1e-3)


@pytest.mark.parametrize(
    ("gpus", "settings", "words"),
    [
        ("[]", {}, "none is metered"),
        ("[0, 1]", {"FAKE_NVML_BOARDS": 2}, "the mean of several GPUs where their sum is meant"),
        ("[0]", {"FAKE_NVML_FAIL": "nvmlInitWithFlags 9"}, "the NVIDIA driver is not loaded"),
        ("[0]", {"FAKE_NVML_FAIL": "nvmlDeviceGetPowerUsage 3"}, "this GPU has no such counter"),
        ("[0]", {"FAKE_NVML_MIG": 1}, "split by MIG"),
        ("[3]", {}, "there is no GPU 3"),
    ],
)
def test_it_is_not_started_where_it_could_only_end_itself(run_fake, gpus, settings, words):
    (found,) = run_fake(TRACK, gpus, 1.0, "[0.0]", **settings)
    assert found["joules"] is None
    assert words in found["missing"]


def test_another_version_is_not_asked(monkeypatch):
    monkeypatch.setattr(carbontracker.metadata, "version", lambda name: "3.0.0")
    with Carbontracker([0]) as tracker:
        tracker.start()
        opinion = tracker.stop()
    assert opinion.joules is None
    assert "pip install carbontracker==2.4.7" in opinion.missing


def test_it_samples_at_sensible_times():
    with pytest.raises(UsageError, match=r"every 0\.01 to 60 s"):
        Carbontracker([0], 0.0)


def test_it_adds_no_network(run_fake):
    """Its process begins and ends an epoch with every look-up of a name forbidden."""
    script = """
import json, socket, sys, threading
from multiprocessing.connection import Pipe
from ptprof.energy import carbontracker_main
def refuse(*arguments, **settings):
    raise SystemExit("it looked for " + str(arguments))
socket.getaddrinfo = socket.create_connection = refuse
sys.stdout, said = sys.stderr, sys.stdout
ours, theirs = Pipe()
child = threading.Thread(target=carbontracker_main.main, args=(theirs, 60.0))
child.start()
ours.recv()
for verb in ("start", "stop"):
    ours.send(verb)
    found = ours.recv()
ours.close()
child.join()
said.write(json.dumps(found))
"""
    script = script.replace("import json", "import warnings; warnings.simplefilter('ignore'); import json", 1)
    assert run_fake(script)["pue"] == 1.58


def test_its_end_is_nobody_elses(run_fake):
    """Where the driver goes between the look at it and Carbontracker's, it ends its whole process.

    With 70 by its thread, unless the other one stumbles first over the component that is not there.
    """
    script = """
import json
from ptprof.energy import carbontracker
from ptprof.energy.nvml import Board
carbontracker._board = lambda gpus: Board(0, "GPU-fake-0", "Fake H200")
with carbontracker.Carbontracker([0]) as tracker:
    tracker.start()
    print(json.dumps(tracker.stop().model_dump()))
"""
    found = run_fake(script, FAKE_NVML_FAIL="nvmlInitWithFlags 9")
    assert found["joules"] is None
    assert re.match("Carbontracker ended itself with status (70|1: IndexError)", found["missing"])
