"""What ``ptprof profile`` makes of its options, and what it prints where nothing is measured."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from ptprof import workflows
from ptprof.cli import app
from ptprof.errors import StudyError, UsageError
from ptprof.records import EnergyBreakdown
from ptprof.study import Study, write_record


@pytest.fixture
def asked(monkeypatch, make_measurement):
    """Run the command; give the settings that reach the workflow."""
    reached = {}

    def profile(study, models, **settings):
        reached.update(settings, models=models)
        return [make_measurement("fno", EnergyBreakdown())]

    monkeypatch.setattr(workflows, "profile", profile)

    def asked(*arguments):
        result = CliRunner().invoke(app, ["profile", "-q", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return reached

    return asked


def test_the_defaults_are_short(asked):
    found = asked()
    assert found["runtimes"] == ("eager", "torchscript", "onnxruntime")
    assert found["scenarios"] == ("one-step", "rollout")
    assert (found["protocol"], found["batches"], found["steps"], found["device"]) == (
        "quick",
        [1],
        10,
        "auto",
    )
    assert (found["rate"], found["max_time"], found["meter_gpus"]) == (None, None, None)
    assert (found["precision"], found["tf32"]) == ("fp32", False)


def test_lists_are_split(asked):
    found = asked("fno", "--batch", "1, 2,4", "--meter-gpus", "0,GPU-a", "--scenario", "cold-start,one-step")
    assert found["models"] == ["fno"]
    assert found["batches"] == [1, 2, 4]
    assert found["meter_gpus"] == ("0", "GPU-a")
    assert found["scenarios"] == ("cold-start", "one-step")


def test_a_rate_means_a_load(asked):
    found = asked("--rate", "20", "--duration", "60")
    assert (found["scenarios"], found["rate"], found["duration"]) == (("load",), 20.0, 60.0)


def test_the_papers_protocol_has_its_own_length_of_a_rollout(asked):
    found = asked("--protocol", "paper")
    assert (found["protocol"], found["steps"]) == ("paper", 50)
    assert asked("--protocol", "paper", "--steps", "7")["steps"] == 7


@pytest.mark.parametrize("batch", ["", "1,x", "1.5", "-1", "²"])
def test_batches_are_whole_numbers(asked, batch):
    with pytest.raises(UsageError, match="--batch takes whole numbers"):
        asked("--batch", batch)


@pytest.fixture
def measured(tmp_path, make_run, make_measurement, make_energy):
    study = Study(tmp_path / "study")
    for model, joules in (("fno", 1.0), ("unet", 2.0)):
        run = make_run(model, EnergyBreakdown(cpu=make_energy(9.0)))
        write_record(study.run_folder(run.run) / "run.json", run)
        for batch in (1, 2):
            query = EnergyBreakdown(cpu=make_energy(joules))
            study.add_measurement(make_measurement(model, query, batch=batch))
    return study.root


def compared(study, *arguments):
    command = ["profile", "--compare", "--study", str(study), *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_compare_reads_what_is_measured(measured):
    text = compared(measured)
    assert "One step, batch 1, 48×96, cpu" in text
    assert "One step, batch 2" in text
    document = json.loads(compared(measured, "--json", "--batch", "2"))
    (contest,) = document["contests"]
    assert contest["batch"] == 2
    assert [entrant["model"] for entrant in contest["entrants"]] == ["fno", "unet"]
    # Without windows nothing is known of the error, so nothing is said of who is cheaper.
    (pair,) = contest["pairs"]
    assert (pair["a"], pair["b"]) == ("fno onnxruntime", "unet onnxruntime")
    assert (pair["energy"], pair["latency"]) == ("undecided", "undecided")
    (alone,) = json.loads(compared(measured, "fno", "--json", "--batch", "1"))["contests"]
    assert [entrant["model"] for entrant in alone["entrants"]] == ["fno"]


def test_compare_says_where_there_is_nothing(measured):
    with pytest.raises(StudyError, match="no such measurements to compare: run `ptprof profile`"):
        compared(measured, "--runtime", "openvino")
