"""Measuring by runtimes and sensors of plugins, in processes that load them themselves."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import asdict, replace

import numpy as np
import pytest

from ptprof import plugins
from ptprof.errors import MeasurementError
from ptprof.export.artifact import source_sha256
from ptprof.profile import fresh_main, matrix, profile, protocol
from ptprof.profile.fresh import Job
from ptprof.profile.scenarios import scenario
from ptprof.profile.summary import Subject
from ptprof.records import EnergyBreakdown
from ptprof.study import sha256

PLUGIN = """
import time
import ptprof
from ptprof.energy import Counter
from ptprof.runtimes import Runner, StepRunner
from ptprof.runtimes.base import Frames


@ptprof.runtime("good", reads=None)
class Good(StepRunner):
    def load(self, module):
        return module


class Query:
    def __init__(self, state):
        self.result = state

    def __call__(self):
        pass


class Bare(Runner):
    provider = "bare"

    def __init__(self, module, *, device, threads, precision, tf32):
        super().__init__(device)

    def bind(self, state, steps=None, noise=None):
        return Query(state)

    def step(self, state, noise=None):
        return state, state

    def close(self):
        pass


@ptprof.runtime("wrong", reads=None)
class Wrong(Bare):
    pass


@ptprof.runtime("dying", reads=None)
class Dying(Bare):
    def bind(self, state, steps=None, noise=None):
        return {}["no such key"]


@ptprof.sensor
def clockwork():
    yield Counter(component="cpu", device_id="s0", name="clockwork", count=time.monotonic, systematic=0.1)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A file of runtimes and a sensor, and what loads it anew."""
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    monkeypatch.setenv(plugins.VARIABLE, str(path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def load():
        monkeypatch.setattr(plugins, "_registry", plugins._Registry())

    load()
    return path, load


def already(study, runtime="good"):
    """What has been measured of the FNO on a runtime, by the plugins as they are."""
    run, place = study.run("fno"), matrix.here("cpu")
    digest = source_sha256(study, run, runtime)
    query = scenario("one-step", batch=1, steps=1)
    subject = Subject(run, runtime, "cpu", query, digest, threads=place.threads)
    return list(matrix.measured_already(study, [subject], "quick", place, 6.0).values())


def test_what_a_plugin_does_wrong_is_a_line_and_the_others_are_measured(study, plugin, monkeypatch):
    path, load = plugin
    monkeypatch.setitem(protocol.PROTOCOLS, "quick", replace(protocol.QUICK, warm_up_s=0.0, window_s=0.01))
    asked = {"runtimes": ["good", "wrong", "dying"], "scenarios": ["one-step"]}
    with pytest.raises(MeasurementError) as caught:
        profile(study, ["fno"], **asked)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith("2 of 3 measurements could not be made; 1 others have been made")
    assert "fno on wrong: wrong answers with (1, 4, 4, 48, 96), where (1, 4, 48, 96) is due" in said
    assert "fno on dying: the worker died with status 1: KeyError: 'no such key'" in said
    (good,) = study.measurements()
    assert [(source.name, source.sha256) for source in good.plugins] == [("plugin.py", sha256(path))]
    energy = good.energy_per_query.cpu
    assert (good.provider, energy.source, energy.sensor) == ("good cpu", "measured", "clockwork")

    assert already(study) == [good]
    path.write_text(PLUGIN.replace("return module", "return lambda state: module(state)"))
    load()
    assert already(study) == []


def test_what_another_sensor_has_measured_is_measured_again(
    study, plugin, make_measurement, make_energy, monkeypatch
):
    _, load = plugin
    place = matrix.here("cpu")
    modelled = make_energy(1.0, source="modelled", sensor="CPU seconds × 6 W per core")
    for sensor, found in (("clockwork", 1), ("RAPL package", 0), (None, 0)):
        for path in study.root.glob("measurements/*"):
            path.unlink()
        measured = make_measurement(
            "fno",
            EnergyBreakdown(cpu=make_energy(1.0, sensor=sensor) if sensor else modelled),
            runtime="eager",
            device_id=next(iter(place.device_ids)),
            threads=place.threads,
            artifact_sha256=source_sha256(study, study.run("fno"), "eager"),
        )
        study.add_measurement(measured)
        assert len(already(study, "eager")) == found
    monkeypatch.setenv(plugins.VARIABLE, "")
    load()
    assert len(already(study, "eager")) == 1


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("runtime", "says"),
    [("good", None), ("absent", "unknown runtime 'absent'; known: eager, .* wrong, dying")],
)
def test_a_fresh_process_loads_the_plugin_as_a_part_of_its_start(study, tmp_path, runtime, says):
    np.save(tmp_path / "state.npy", np.zeros((1, 4, 4, 48, 96), np.float32))
    job = Job(
        runtime,
        "cpu",
        1,
        "fp32",
        False,
        None,
        str(study.root),
        "fno-quick-s0",
        None,
        str(tmp_path / "state.npy"),
    )
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(json.dumps(asdict(job)).encode() + b"\n{}\n")
        fresh_main.main(theirs.detach())
        with ours.makefile(encoding="utf-8") as lines:
            said = [json.loads(line) for line in lines]
    if says is None:
        assert [message["part"] for message in said][:3] == ["start", "import", "load"]
        assert said[2]["provider"] == "good cpu"
        assert said[-1]["part"] == "end"
    else:
        assert re.search(says, said[-1]["error"])
