"""A run in the study: what it leaves, that it repeats itself, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptprof.errors import StudyError, UsageError
from ptprof.records import PinnStage
from ptprof.study import Study
from ptprof.train.burgers import load, train
from ptprof.train.burgers.reference import grid
from ptprof.train.recipe import Recipe


def test_a_run_leaves_record_checkpoint_and_stages(tmp_path: Path, tiny: Recipe) -> None:
    study = Study(tmp_path)
    record = train(study, "burgers-s-pinn", tiny, seed=1)
    folder = study.run_folder("burgers-s-pinn-quick-s1")
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.pt", "epochs.jsonl", "run.json"]
    lines = (folder / "epochs.jsonl").read_text().splitlines()
    stages = [PinnStage.model_validate_json(line) for line in lines]
    assert [stage.steps for stage in stages] == [4, 6, 10, 14]
    assert record.energy.joules == pytest.approx(sum(s.energy.joules or 0 for s in stages))
    assert (record.kind, record.points, record.parameters) == ("pinn", 40, 7851)
    assert study.pinns() == [record]
    where, u = grid()
    network = load(study, record)
    error = network(torch.tensor(where, dtype=torch.float32)).detach().double() - torch.tensor(u)
    assert float((error**2).mean()) == pytest.approx(record.test_mse, rel=1e-12)


def test_a_recipe_may_ask_for_float64(tmp_path: Path, tiny: Recipe) -> None:
    double = tiny.model_copy(update={"burgers": tiny.burgers.model_copy(update={"dtype": "float64"})})
    study = Study(tmp_path)
    record = train(study, "burgers-s-pinn", double)
    network = load(study, record)
    assert all(parameter.dtype == torch.float64 for parameter in network.parameters())
    where, u = map(torch.tensor, grid())
    assert float(((network(where) - u) ** 2).mean().detach()) == pytest.approx(record.test_mse, rel=1e-12)
    single = train(Study(tmp_path / "other"), "burgers-s-pinn", tiny)
    assert record.loss == pytest.approx(single.loss, rel=1e-3)
    assert record.loss != single.loss


def test_forecasters_do_not_trip_over_it(tmp_path: Path, tiny: Recipe) -> None:
    study = Study(tmp_path)
    train(study, "burgers-nn", tiny)
    assert study.runs() == []
    assert study.models() == []
    with pytest.raises(StudyError, match="no trained 'fno'"):
        study.run("fno")


def test_a_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path, tiny: Recipe) -> None:
    first, again = (train(Study(tmp_path / name), "burgers-u-pinn", tiny, seed=3) for name in "ab")
    other = train(Study(tmp_path / "a"), "burgers-u-pinn", tiny, seed=4)
    assert first.checkpoint_sha256 == again.checkpoint_sha256
    assert first.test_mse == again.test_mse
    assert other.checkpoint_sha256 != first.checkpoint_sha256


def test_a_finished_run_is_returned_and_force_trains_again(tmp_path: Path, tiny: Recipe) -> None:
    study = Study(tmp_path)
    path = study.run_folder("burgers-nn-quick-s0") / "run.json"
    record = train(study, "burgers-nn", tiny)
    written = path.stat().st_mtime_ns
    assert train(study, "burgers-nn", tiny) == record
    assert path.stat().st_mtime_ns == written
    train(study, "burgers-nn", tiny, force=True)
    assert path.stat().st_mtime_ns > written


@pytest.mark.parametrize("changes", [{"adam_steps": 5}, {"points": 41}, {"learning_rate": 1e-2}])
def test_a_run_by_other_settings_is_refused(tmp_path: Path, tiny: Recipe, changes: dict[str, float]) -> None:
    study = Study(tmp_path)
    record = train(study, "burgers-nn", tiny)
    other = tiny.model_copy(update={"burgers": tiny.burgers.model_copy(update=changes)})
    with pytest.raises(StudyError, match="--force"):
        train(study, "burgers-nn", other)
    assert study.pinns() == [record]


def test_a_checkpoint_that_was_changed_is_refused(tmp_path: Path, tiny: Recipe) -> None:
    study = Study(tmp_path)
    record = train(study, "burgers-nn", tiny)
    with (study.run_folder(record.run) / "checkpoint.pt").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StudyError, match="not the file"):
        train(study, "burgers-nn", tiny)
    with pytest.raises(StudyError, match="not the file"):
        load(study, record)


@pytest.mark.parametrize(
    ("model", "seed", "device", "says"),
    [
        ("burgers-nm", 0, "cpu", "did you mean 'burgers-nn'"),
        ("burgers-nn", -1, "cpu", "negative"),
        ("burgers-nn", 0, "tpu", "unknown device"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing(
    tmp_path: Path, tiny: Recipe, model: str, seed: int, device: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        train(Study(tmp_path), model, tiny, seed=seed, device=device)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.gpu
def test_on_a_gpu_it_learns_the_same_and_the_board_is_metered(tmp_path: Path, tiny: Recipe) -> None:
    here = train(Study(tmp_path / "cpu"), "burgers-s-pinn", tiny)
    there = train(Study(tmp_path / "gpu"), "burgers-s-pinn", tiny, device="cuda:0")
    assert there.device == "cuda:0"
    assert there.energy.gpu is not None
    assert there.loss == pytest.approx(here.loss, rel=1e-2)
