"""Estimates of whole trainings: what they leave, what is not done twice, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ptprof.errors import DataError, PtprofError, UsageError
from ptprof.records import EstimateRecord, Execution
from ptprof.study import Study, read_record, sha256
from ptprof.train import load, sampling, steps
from ptprof.train.data import generate
from ptprof.train.estimate import estimate
from ptprof.train.models import build, parameter_count
from ptprof.train.recipe import Recipe, load_recipe


def small_recipe(**changes: Any) -> Recipe:
    """Recipe quick on four short flows: 3 training steps an epoch, and 2 validation steps."""
    quick = load_recipe("quick")
    flows = {
        "settings": ((500.0, 1.0),),
        "n_shear": (2,),
        "n_blobs": (2, 4),
        "width": (2.0, 4.0),
        "steps": 14,
    }
    data = quick.data.model_copy(update=flows)
    return quick.model_copy(update={"batch": 4, "steps_per_epoch": 3, "data": data} | changes)


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "BLOCK_S", 0.01)
    monkeypatch.setattr(sampling, "WARM_UP_S", 0.0)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "study")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the small recipe."""
    folder = tmp_path_factory.mktemp("simulated") / "shear_flow"
    generate(folder, small_recipe())
    return folder


@pytest.fixture
def count_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The training steps of every block and warm-up."""
    done: list[int] = []
    real = steps.Steps.train

    def counted(self: steps.Steps, number: int) -> None:
        done.append(number)
        real(self, number)

    monkeypatch.setattr(steps.Steps, "train", counted)
    return done


def run(study: Study, model: str = "fno", recipe: Recipe | None = None, **options: Any) -> EstimateRecord:
    return estimate(study, model, recipe or small_recipe(), **{"limit_s": 1.0} | options)


def test_what_an_estimate_leaves(study: Study) -> None:
    record = run(study, epochs=7)
    folder = study.run_folder("fno-quick-s0-estimate")
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.pt", "estimate.json"]
    assert read_record(folder / "estimate.json", EstimateRecord) == record == study.estimates()[0]
    assert study.runs() == []
    assert record.checkpoint_sha256 == sha256(folder / "checkpoint.pt")
    assert record.parameters == parameter_count(build("fno", "quick"))
    assert (record.epochs, record.steps, record.grid) == (7, 21, (48, 96))
    # 2 trajectories of 10 windows train, 1 is for validation.
    assert (record.train_steps, record.valid_steps) == (3.0, 2.5)
    cpu = record.energy.cpu
    assert cpu is not None
    assert (cpu.source, cpu.projected_from, cpu.gain_id) == ("projected", "modelled", "cpu-model")
    per_step = [b.energy.present["cpu"].joules / b.steps for b in record.train_blocks]
    assert 7 * 3 * min(per_step) < cpu.joules < 7 * (3 + 2.5) * max(per_step)
    assert cpu.low < cpu.joules * 0.5 < cpu.joules * 1.5 <= cpu.high
    assert record.duration_interval_s.value == record.duration_s
    assert record.energy.missing["gpu"]


def test_without_data_windows_are_synthetic_and_it_says_so(study: Study) -> None:
    record = run(study)
    assert record.synthetic_data
    assert record.data_sha256 == "synthetic"
    assert any("reading data is not part of it" in flag for flag in record.flags)
    assert not study.data.exists()


def test_data_on_the_recipes_grid_is_used(study: Study, simulated: Path) -> None:
    study.data.parent.mkdir(parents=True)
    study.data.symlink_to(simulated)
    own, given = run(study), run(Study(study.root / "other"), data=simulated)
    for record in (own, given):
        assert not record.synthetic_data
        assert record.statistics.std != (1.0,) * 4
    assert own.data_sha256 == given.data_sha256
    elsewhere = run(study, recipe=small_recipe(grid=(48, 112)))
    assert (elsewhere.synthetic_data, elsewhere.grid) == (True, (48, 112))


def test_all_epochs_of_the_recipe_are_the_worst_case(study: Study) -> None:
    record = run(study)
    assert record.epochs == 10
    assert "all 10 epochs of the recipe, which early stopping may not need" in record.flags
    assert not any("early stopping" in flag for flag in run(study, epochs=9).flags)
    assert "the recipe ends after 10 epochs" in run(study, epochs=11).flags


def test_a_limit_of_hours_that_would_end_the_training_is_told(study: Study) -> None:
    hours = 1e-4
    record = run(study, recipe=small_recipe(max_hours=hours))
    whole = int(hours * 3600 / (record.duration_s / record.epochs))
    assert f"the recipe ends after 0.0001 h, with epoch {max(1, whole)}" in record.flags


def test_other_epochs_are_projected_from_what_is_sampled(study: Study, count_steps: list[int]) -> None:
    first = run(study, limit_s=0.5)
    sampled = len(count_steps)
    second = run(study, limit_s=0.5, epochs=20)
    assert len(count_steps) == sampled
    assert second.train_blocks == first.train_blocks
    assert (second.created, second.checkpoint_sha256) == (first.created, first.checkpoint_sha256)
    assert second.duration_s == pytest.approx(2 * first.duration_s)
    assert second.energy.joules == pytest.approx(2 * (first.energy.joules or 0.0))
    assert study.estimates() == [second]


@pytest.mark.parametrize(
    "again",
    [
        {"force": True},
        {"watts_per_core": 9.0},
        {"limit_s": 1e6},
        {"recipe": small_recipe(weight_decay=0.5)},
        {"execution": Execution(batch=2)},
    ],
)
def test_what_was_sampled_otherwise_is_sampled_again(
    study: Study, count_steps: list[int], monkeypatch: pytest.MonkeyPatch, again: dict[str, Any]
) -> None:
    monkeypatch.setattr(sampling, "LEAST_TRAINING_BLOCKS", 10**6)
    first = run(study, limit_s=0.2)
    assert not first.converged
    monkeypatch.setattr(sampling, "LEAST_TRAINING_BLOCKS", 1)
    monkeypatch.setattr(sampling.CostKnown, "is_finished", lambda rule: bool(rule.seen))
    sampled = len(count_steps)
    second = run(study, **{"limit_s": 0.2} | again)
    assert len(count_steps) > sampled
    assert second.train_blocks != first.train_blocks
    assert second.converged


@pytest.mark.parametrize("file", ["checkpoint.pt", "estimate.json"])
def test_an_estimate_that_is_damaged_is_made_again(study: Study, file: str) -> None:
    path = study.run_folder(run(study).run) / file
    path.write_bytes(path.read_bytes()[:-9])
    again = run(study)
    assert load(study, again) is not None
    assert study.estimates() == [again]


def test_the_weights_are_there_to_be_exported(study: Study) -> None:
    record = run(study, "unet")
    module = load(study, record)
    with torch.inference_mode():
        following = module(torch.randn(1, 16, 48, 96))
    assert torch.isfinite(following).all()


def test_a_stopped_estimate_leaves_nothing(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps.Steps, "validate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(study)
    assert not study.run_folder("fno-quick-s0-estimate").exists()


def test_a_training_that_breaks_down_is_not_projected(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps.Loop, "train_step", lambda *_: float("nan"))
    with pytest.raises(PtprofError, match="the training loss became nan after 0 steps"):
        run(study)
    assert study.estimates() == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"model": "fnoo"}, UsageError, r"unknown model 'fnoo' \(did you mean 'fno'\?\)"),
        ({"epochs": 0}, UsageError, "1 epoch or more, not 0"),
        ({"limit_s": 0.0}, UsageError, "above zero seconds, not 0"),
        ({"limit_s": float("nan")}, UsageError, "above zero seconds, not nan"),
        ({"seed": -1}, UsageError, "seed must not be negative"),
        ({"device": "gpu"}, UsageError, "unknown device 'gpu'"),
        ({"data": Path("nowhere")}, DataError, "nowhere"),
        ({"execution": Execution(precision="tf32")}, UsageError, "tf32"),
    ],
)
def test_what_cannot_be_estimated_leaves_nothing(
    tmp_path: Path, options: dict[str, Any], error: type[PtprofError], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(Study(tmp_path / "study"), **options)
    assert list(tmp_path.iterdir()) == []


def test_one_process_estimates(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptprof.train.estimate.processes", lambda: 2)
    with pytest.raises(UsageError, match="without torchrun"):
        run(study)


@pytest.mark.gpu
def test_an_estimate_on_a_gpu_meters_it(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    record = run(study, device="cuda", limit_s=20.0)
    assert record.device == "cuda:0"
    assert (record.energy.gpu is None) == ("gpu" in record.energy.missing)
    if record.energy.gpu is not None:
        assert record.energy.gpu.projected_from == "measured"
