"""From an estimate to a decision, without data and without a training; and what the command refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ptprof import export as exporting
from ptprof import profile as profiling
from ptprof.amortise.costs import amortise_study
from ptprof.cli import app
from ptprof.errors import StudyError, UsageError
from ptprof.export.artifact import windows
from ptprof.profile import protocol
from ptprof.profile.bench import LocalBench
from ptprof.profile.summary import UNTRAINED
from ptprof.records import EnergyBreakdown, Statistics
from ptprof.report import words
from ptprof.study import Study, write_record
from ptprof.train import sampling
from ptprof.train.data import FIELDS
from ptprof.train.estimate import estimate
from ptprof.train.recipe import load_recipe

Make = Callable[..., Any]


def test_a_decision_without_data_and_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "BLOCK_S", 0.01)
    monkeypatch.setattr(sampling, "WARM_UP_S", 0.0)
    quick = replace(protocol.QUICK, warm_up_s=0.0, window_s=0.05, windows=2)
    monkeypatch.setitem(protocol.PROTOCOLS, "quick", quick)
    study = Study(tmp_path)
    record = estimate(study, "fno", load_recipe("quick"), epochs=8, limit_s=1.0)

    artifact = exporting.export(study, record, ["torchscript"])
    (file,) = artifact.files
    assert file.parity.synthetic
    assert file.parity.one_step_float64 <= file.parity.gate
    assert (artifact.run, artifact.checkpoint_sha256) == (record.run, record.checkpoint_sha256)

    (measured,) = profiling.profile(
        study, [record], runtimes=["torchscript"], scenarios=["one-step"], open_bench=LocalBench
    )
    assert measured.run == "fno-quick-s0-estimate"
    assert UNTRAINED in measured.flags

    report = amortise_study(study, [1e6])
    (fno,) = report.models
    assert fno.training_source == "projected"
    assert fno.projected is not None
    assert (fno.projected.epochs, fno.projected.steps) == (8, record.sampled_steps)
    said = words.caveats(report)[0]
    assert said.startswith(f"The training cost of fno is projected from {record.sampled_steps} step")
    assert said.endswith("to 8 epochs.")


def test_an_estimate_is_asked_with_synthetic_windows(make_estimate: Make, tmp_path: Path) -> None:
    statistics = Statistics(fields=FIELDS, mean=(0.0,) * 4, std=(1.0,) * 4)
    record = make_estimate("fno", EnergyBreakdown(), statistics=statistics)
    assert windows(tmp_path / "nowhere", record, 3).shape == (3, 4, 4, 48, 96)


@pytest.fixture
def study(tmp_path: Path, make_run: Make, make_estimate: Make) -> Study:
    """fno trained by quick and then estimated by paper, unet trained and before that estimated by quick."""
    study, none = Study(tmp_path), EnergyBreakdown()
    paper = {"recipe": "paper", "run": "fno-paper-s0-estimate"}
    for record in (make_run("fno", none), make_run("unet", none, created="2026-01-03T00:00:00+00:00")):
        write_record(study.run_folder(record.run) / "run.json", record)
    for record in (make_estimate("fno", none, **paper), make_estimate("unet", none)):
        write_record(study.run_folder(record.run) / "estimate.json", record)
    return study


def test_a_run_goes_before_an_estimate_of_its_recipe(study: Study) -> None:
    assert [r.run for r in study.models()] == ["fno-quick-s0", "fno-paper-s0-estimate", "unet-quick-s0"]
    newest = {model: record.run for model, record in study.newest().items()}
    assert newest == {"fno": "fno-paper-s0-estimate", "unet": "unet-quick-s0"}
    assert [r.run for r in study.newest(recipe="quick").values()] == ["fno-quick-s0", "unet-quick-s0"]
    assert [r.run for r in study.newest(["unet"]).values()] == ["unet-quick-s0"]
    assert study.run("fno").run == "fno-quick-s0"
    assert study.named("unet-quick-s0-estimate").run == "unet-quick-s0-estimate"


def test_what_is_not_there_is_named(study: Study, tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"no trained unet of recipe paper: .*`ptprof train unet --recipe paper`"
    ):
        study.newest(["fno", "unet"], "paper")
    with pytest.raises(StudyError, match="no trained model: begin with `ptprof train`"):
        Study(tmp_path / "empty").newest()
    with pytest.raises(UsageError, match="did you mean 'fno-quick-s0'"):
        study.named("fno-quick-0")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--epochs", "3"], "--epochs and --estimate-time go with --estimate"),
        (["--estimate-time", "3"], "go with --estimate"),
        (["--estimate", "--epochs", "0"], "--epochs"),
        (["--estimate", "--estimate-time", "0"], "--estimate-time"),
        (["--estimate", "--recipe", "papr"], "did you mean 'paper'"),
        (["--estimate", "--pue", "0.5"], "--pue"),
        (["--estimate", "burgers-nn"], "burgers-nn"),
    ],
)
def test_what_the_command_refuses(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["--study", str(tmp_path / "study"), "train", *arguments])
    # An error of ptprof's own is printed by `main`, one of the command line by the command.
    own = isinstance(done.exception, UsageError)
    assert own or done.exit_code == 2
    said = str(done.exception) if own else done.stderr
    assert says in " ".join(said.split())
    assert not (tmp_path / "study").exists()
