"""Whole trainings on simulated flows: what they leave, how they go on, what they refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress

from ptprof.errors import DataError, PtprofError, StudyError, UsageError
from ptprof.records import Epoch, Execution, RunRecord
from ptprof.study import Study, read_record, sha256
from ptprof.train import load, train, training
from ptprof.train.data import Windows, data_sha256
from ptprof.train.data.loader import Reading
from ptprof.train.evaluate import accuracy
from ptprof.train.models import build, parameter_count
from ptprof.train.models.increment import calibrate
from ptprof.train.objective import Objective
from ptprof.train.recipe import Recipe, load_recipe

MakeRecipe = Callable[..., Recipe]

STEPS = 4
EPOCHS = 4


class Stop(Progress):
    """A progress display that ends the training at a step of its choice."""

    def __init__(self, at: int, how: Callable[[], None]) -> None:
        super().__init__(disable=True)
        self.at, self.how = at, how

    def update(self, *args: Any, completed: float | None = None, **changes: Any) -> None:
        if completed == self.at:
            self.how()
        super().update(*args, completed=completed, **changes)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_recipe: MakeRecipe) -> tuple[Study, RunRecord]:
    """A study in which one model was trained, its data generated on the way."""
    study = Study(tmp_path_factory.mktemp("finished"))
    return study, train(study, "fno", small_recipe())


@pytest.fixture
def study(finished: tuple[Study, RunRecord], tmp_path: Path) -> Study:
    """A study with the same data and nothing trained."""
    (tmp_path / "data").symlink_to(finished[0].root / "data")
    return Study(tmp_path)


def epochs(study: Study, run: str) -> list[Epoch]:
    lines = (study.run_folder(run) / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
    return [Epoch.model_validate_json(line) for line in lines]


def test_what_a_training_leaves(finished: tuple[Study, RunRecord]) -> None:
    study, run = finished
    folder = study.run_folder("fno-quick-s0")
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.pt", "epochs.jsonl", "run.json"]
    assert read_record(folder / "run.json", RunRecord) == run == study.run("fno")
    assert run.checkpoint_sha256 == sha256(folder / "checkpoint.pt")
    assert run.data_sha256 == data_sha256(study.data)
    assert run.parameters == parameter_count(build("fno", "quick"))
    assert (run.grid, run.history, run.epochs, run.steps) == ((48, 96), 4, EPOCHS, EPOCHS * STEPS)
    log = epochs(study, run.run)
    assert [e.epoch for e in log] == [1, 2, 3, 4]
    assert run.best_valid_loss == log[run.best_epoch - 1].valid_loss
    assert run.best_valid_loss == min(e.valid_loss for e in log)
    assert run.duration_s == pytest.approx(sum(e.duration_s for e in log))


def test_the_energy_is_that_of_the_epochs(finished: tuple[Study, RunRecord]) -> None:
    study, run = finished
    cpu, log = run.energy.cpu, epochs(study, run.run)
    assert cpu is not None
    assert cpu.joules == pytest.approx(sum(e.energy.present["cpu"].joules for e in log))
    assert cpu.joules > 0
    assert run.energy.gpu is None
    assert run.energy.missing["gpu"]


def test_training_beats_the_initial_weights(finished: tuple[Study, RunRecord]) -> None:
    study, run = finished
    valid = Windows(study.data, "valid", run.history)
    inputs, targets = (torch.stack(part) for part in zip(*valid, strict=True))

    def loss(module: torch.nn.Module) -> float:
        with torch.inference_mode():
            return float(Objective(module.eval())(inputs, targets))

    untrained = build("fno", "quick")
    calibrate(untrained, run.statistics)
    trained = loss(load(study, run))
    assert trained == pytest.approx(run.best_valid_loss, rel=1e-4)
    assert trained < 0.95 * loss(untrained)


def test_the_weights_serve_both_spectral_layers(finished: tuple[Study, RunRecord]) -> None:
    study, run = finished
    window = Windows(study.data, "test", run.history)[0][0][None]
    with torch.inference_mode():
        gemm, fft = (load(study, run, spectral)(window) for spectral in ("gemm", "fft"))
    torch.testing.assert_close(gemm, fft, rtol=1e-4, atol=1e-5)


def test_the_weights_that_are_kept_are_those_that_are_scored(
    study: Study, monkeypatch: pytest.MonkeyPatch, small_recipe: MakeRecipe
) -> None:
    monkeypatch.setattr(training.Loop, "validate", lambda _, epoch: float(epoch))
    run = train(study, "fno", small_recipe())
    assert (run.best_epoch, run.epochs) == (1, EPOCHS)
    windows = Windows(study.data, "test", run.history)
    again = accuracy(load(study, run), windows, rollout_steps=3, batch=4)
    assert again.one_step.vrmse == pytest.approx(run.accuracy.one_step.vrmse, rel=1e-5)


def test_persistence_is_scored_beside(finished: tuple[Study, RunRecord]) -> None:
    _, run = finished
    assert len(run.accuracy.rollout) == len(run.persistence.rollout) == 3
    for field in ("tracer", "velocity_x"):
        r = [scores.pearson_r[field] for scores in run.persistence.rollout]
        assert None not in r
        assert r == sorted(r, reverse=True)
        assert 0.9 < r[0] < 1


def test_a_finished_run_is_left_as_it_is(finished: tuple[Study, RunRecord], small_recipe: MakeRecipe) -> None:
    study, run = finished
    before = (study.run_folder(run.run) / "run.json").stat()
    assert train(study, "fno", small_recipe(), progress=Stop(1, interrupt)) == run
    assert (study.run_folder(run.run) / "run.json").stat().st_mtime_ns == before.st_mtime_ns


def test_the_same_seed_makes_the_same_file(
    study: Study, finished: tuple[Study, RunRecord], small_recipe: MakeRecipe
) -> None:
    again = train(study, "fno", small_recipe())
    assert again.checkpoint_sha256 == finished[1].checkpoint_sha256
    assert again.accuracy == finished[1].accuracy
    assert train(study, "fno", small_recipe(), seed=1).checkpoint_sha256 != again.checkpoint_sha256


@pytest.mark.parametrize("reading", [Reading(False, workers=0), Reading(False, workers=2), Reading("memory")])
def test_however_the_data_are_read_the_weights_are_the_same(
    study: Study, finished: tuple[Study, RunRecord], small_recipe: MakeRecipe, reading: Reading
) -> None:
    """To the bit: where windows are held and how many threads read them is not part of a run."""
    run = train(study, "fno", small_recipe(), reading=reading)
    assert run.checkpoint_sha256 == finished[1].checkpoint_sha256


def test_a_training_that_only_lacks_its_record_is_not_repeated(
    study: Study, monkeypatch: pytest.MonkeyPatch, small_recipe: MakeRecipe
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "accuracy", lambda *_, **__: interrupt())
        with pytest.raises(KeyboardInterrupt):
            train(study, "fno", small_recipe())
    before = epochs(study, "fno-quick-s0")
    run = train(study, "fno", small_recipe(), progress=Stop(EPOCHS * STEPS + 1, interrupt))
    assert epochs(study, run.run) == before
    assert run.duration_s == pytest.approx(sum(e.duration_s for e in before))


def test_an_unfinished_training_of_other_settings_is_refused(study: Study, small_recipe: MakeRecipe) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(study, "fno", small_recipe(), progress=Stop(STEPS + 1, interrupt))
    folder = study.run_folder("fno-quick-s0")
    left = sha256(folder / "resume.pt")
    with pytest.raises(StudyError, match=r"differs in settings of the recipe: go on as it was begun"):
        train(study, "fno", small_recipe(weight_decay=0.5))
    assert sha256(folder / "resume.pt") == left
    assert train(study, "fno", small_recipe(max_epochs=1), force=True).epochs == 1
    assert not (folder / "resume.pt").exists()


def test_a_finished_run_of_other_data_is_refused(
    finished: tuple[Study, RunRecord], tmp_path: Path, small_recipe: MakeRecipe
) -> None:
    study, run = finished
    other = tmp_path / "other"
    shutil.copytree(study.data, other)
    with (other / "stats.yaml").open("a", encoding="utf-8") as file:
        file.write("# touched\n")
    with pytest.raises(StudyError, match="differs in data: keep it and use another study"):
        train(study, "fno", small_recipe(), data=other)
    assert study.run("fno") == run


def test_a_damaged_checkpoint_is_refused(study: Study, small_recipe: MakeRecipe) -> None:
    run = train(study, "fno", small_recipe(max_epochs=1))
    checkpoint = study.run_folder(run.run) / "checkpoint.pt"
    os.truncate(checkpoint, checkpoint.stat().st_size - 1)
    for use in (lambda: load(study, run), lambda: train(study, "fno", small_recipe(max_epochs=1))):
        with pytest.raises(StudyError, match="train fno again with --force"):
            use()


def test_a_checkpoint_that_the_model_has_outgrown_is_refused(
    finished: tuple[Study, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, run = finished
    monkeypatch.setattr(training.models, "build", lambda *_: torch.nn.Linear(1, 1))
    with pytest.raises(StudyError, match="does not fit fno as recipe 'quick' now has it"):
        load(study, run)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"model": "fnoo"}, UsageError, r"unknown model 'fnoo' \(did you mean 'fno'\?\)"),
        ({"seed": -1}, UsageError, "seed must not be negative"),
        ({"device": "gpu"}, UsageError, "unknown device 'gpu'"),
        ({"data": Path("nowhere")}, DataError, "nowhere holds no train data"),
        ({"recipe": load_recipe("paper")}, DataError, "holds no data for recipe 'paper'.*--data"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing(
    tmp_path: Path, arguments: dict[str, Any], error: type[PtprofError], words: str, small_recipe: MakeRecipe
) -> None:
    with pytest.raises(error, match=words):
        train(Study(tmp_path / "study"), **{"model": "fno", "recipe": small_recipe()} | arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_threads_is_as_it_was(study: Study, small_recipe: MakeRecipe) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        train(study, "fno", small_recipe(max_epochs=1))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
def test_training_on_a_gpu_meters_it(study: Study, small_recipe: MakeRecipe) -> None:
    run = train(study, "fno", small_recipe(), device="cuda")
    assert run.device == "cuda:0"
    assert run.environment.gpus == (torch.cuda.get_device_name(0),)
    assert (run.energy.gpu is None) == ("gpu" in run.energy.missing)
    losses = [e.train_loss for e in epochs(study, run.run)]
    assert losses[-1] < 0.7 * losses[0]
    again = train(study, "fno", small_recipe(), device="cuda")
    assert again == run


@pytest.mark.gpu
@pytest.mark.parametrize(
    "execution",
    [
        Execution(precision="tf32"),
        Execution(precision="bf16"),
        Execution(channels_last=False),
        Execution(compiled=True),
        Execution(accumulate=2),
    ],
)
@pytest.mark.parametrize("model", ["fno", "unet-cn-cp"])
def test_every_way_to_compute_trains_alike_on_a_gpu(
    study: Study, small_recipe: MakeRecipe, model: str, execution: Execution
) -> None:
    plain = train(study, model, small_recipe(), device="cuda")
    run = train(study, model, small_recipe(), device="cuda", execution=execution, force=True)
    assert run.best_valid_loss == pytest.approx(plain.best_valid_loss, rel=0.02)


def test_the_package_does_not_load_torch() -> None:
    code = "import sys, ptprof.train, ptprof.train.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
