"""The pages on runtimes and sensors of one's own, followed word for word on a small study."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ptprof import plugins
from ptprof.records import EnergyBreakdown, Statistics
from ptprof.study import Study, sha256, write_record

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")

# What every process of the page reads from the counter: 40 W since the machine started, whenever it asks.
MOVING = """
import pathlib, time

read_text = pathlib.Path.read_text
pathlib.Path.read_text = lambda path, *a, **k: (
    str(round(40e6 * time.monotonic())) if path.name == "energy65_input" else read_text(path, *a, **k)
)
"""


@pytest.fixture
def folder(tmp_path, small_study, make_run, make_energy, monkeypatch):
    """A folder with a study of one trained model."""
    study = Study(tmp_path / "here" / "study")
    shutil.copytree(small_study, study.root, ignore=shutil.ignore_patterns("measurements"))
    run = make_run(
        "fno",
        EnergyBreakdown(cpu=make_energy(100.0)),
        checkpoint_sha256=sha256(study.run_folder("fno-quick-s0") / "checkpoint.pt"),
        statistics=Statistics(fields=FIELDS, mean=(0.0,) * 4, std=(1.0,) * 4),
    )
    write_record(study.run_folder(run.run) / "run.json", run)
    monkeypatch.setattr(plugins, "_registry", plugins._Registry())
    # What a page sets itself is put back.
    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.setenv("HWMON_ROOT", "")
    return tmp_path / "here"


def test_a_runtime_of_ones_own(pages, folder):
    names = pages.follow(pages.DOCS / "extending" / "runtime.md", folder, limit_s=600)
    # The graph is the same, and so is what numpy makes of it.
    assert 0 < names["difference"] < 1e-5
    study = Study(folder / "study")
    (measured,) = study.measurements()
    assert (measured.runtime, measured.provider) == ("reference", "reference cpu")
    assert measured.artifact_sha256 == sha256(study.artifact_folder("fno-quick-s0") / "model.onnx")
    (source,) = measured.plugins
    assert (source.name, source.sha256) == ("reference.py", sha256(folder / "reference.py"))


def test_a_sensor_of_ones_own(pages, folder, monkeypatch):
    study = Study(folder / "study")
    machine = folder.parent / "machine" / "hwmon3"
    machine.mkdir(parents=True)
    for name, text in {
        "name": "amd_energy",
        "energy1_label": "Ecore000",
        "energy1_input": "5000000",
        "energy65_label": "Esocket0",
        "energy65_input": "0",
    }.items():
        (machine / name).write_text(f"{text}\n")
    (folder.parent / "sitecustomize.py").write_text(MOVING)
    monkeypatch.setenv("HWMON_ROOT", str(machine.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder.parent), os.environ.get("PYTHONPATH", "")]))
    names = pages.follow(pages.DOCS / "extending" / "sensor.md", folder, limit_s=600)
    # On the page the count is moved by hand, by 40 J.
    assert names["window"].cpu.joules == pytest.approx(40.0)
    (measured,) = study.measurements()
    energy = measured.energy_per_query.cpu
    assert (energy.source, energy.sensor) == ("measured", "hwmon amd_energy")
    assert energy.systematic == pytest.approx(0.1)
    assert energy.joules > 0
    assert [source.name for source in measured.plugins] == ["hwmon.py"]
    # A sensor sees the machine idle too, which the model of the CPU does not.
    assert measured.idle_power_w["cpu"] > 0


def test_the_pages_hold_what_they_say(pages):
    files = {
        block.title: block.text
        for name in ("runtime", "sensor")
        for block in pages.blocks(Path(pages.DOCS / "extending" / f"{name}.md"))
        if block.title
    }
    assert set(files) == {"reference.py", "hwmon.py"}
    assert all(len(text.splitlines()) < 50 for text in files.values())
