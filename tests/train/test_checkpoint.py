"""Weights and states on disk: what comes back, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ptprof.errors import StudyError
from ptprof.records import EnergyBreakdown, Epoch
from ptprof.train.checkpoint import (
    Settings,
    State,
    load_state,
    load_weights,
    save_state,
    save_weights,
    weights_of,
)

SETTINGS = Settings(model="fno", recipe="quick", recipe_sha256="r", seed=3, data_sha256="d", device="cpu")


def module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))


def state() -> State:
    trained = module()
    optimizer = torch.optim.AdamW(trained.parameters(), lr=0.1)
    trained(torch.ones(1, 2, 8, 8)).sum().backward()
    optimizer.step()
    epoch = Epoch(
        epoch=1,
        steps=5,
        train_loss=0.1 + 0.2,
        valid_loss=1 / 3,
        learning_rate=1e-3,
        duration_s=2.5,
        energy=EnergyBreakdown(missing={"gpu": "none here"}),
    )
    return State(SETTINGS, (epoch,), weights_of(trained), weights_of(module(1)), optimizer.state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    weights = weights_of(module())
    digest = save_weights(tmp_path / "checkpoint.pt", "fno", weights)
    assert same(load_weights(tmp_path / "checkpoint.pt", "fno", digest), weights)


def test_equal_weights_make_equal_files(tmp_path: Path) -> None:
    first = save_weights(tmp_path / "a.pt", "fno", weights_of(module(4)))
    assert save_weights(tmp_path / "b" / "other.pt", "fno", weights_of(module(4))) == first
    assert save_weights(tmp_path / "c.pt", "fno", weights_of(module(5))) != first


def test_a_copy_of_weights_does_not_follow_training() -> None:
    trained = module()
    before = weights_of(trained)
    with torch.no_grad():
        trained[0].weight += 1
    assert not torch.equal(before["0.weight"], trained[0].weight)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "checkpoint.pt"
    digest = save_weights(path, "fno", weights_of(module()))
    damage(path)
    with pytest.raises(StudyError, match=r"checkpoint\.pt is not .*train fno again"):
        load_weights(path, "fno", digest)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    digest = save_weights(tmp_path / "checkpoint.pt", "unet", weights_of(module()))
    with pytest.raises(StudyError, match="holds 'unet', not 'fno'"):
        load_weights(tmp_path / "checkpoint.pt", "fno", digest)


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    written = state()
    save_state(tmp_path / "resume.pt", written)
    read = load_state(tmp_path / "resume.pt", SETTINGS)
    assert read.epochs == written.epochs
    assert same(read.weights, written.weights)
    assert same(read.best, written.best)
    assert read.optimizer["param_groups"] == written.optimizer["param_groups"]
    for key, moments in written.optimizer["state"].items():
        assert same(read.optimizer["state"][key], moments)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data_sha256": "e"}, "differs in data:"),
        ({"seed": 4}, "differs in seed:"),
        ({"recipe_sha256": "s", "device": "cuda"}, "differs in settings of the recipe and device:"),
    ],
)
def test_a_state_of_another_training_is_refused(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    save_state(tmp_path / "resume.pt", state())
    with pytest.raises(StudyError, match=named):
        load_state(tmp_path / "resume.pt", SETTINGS.model_copy(update=changes))


def test_a_cut_state_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    save_state(path, state())
    cut(path)
    with pytest.raises(StudyError, match=r"resume\.pt cannot be read.*--force"):
        load_state(path, SETTINGS)
    assert path.exists()


@pytest.mark.parametrize("content", [{"weights": {}}, [1, 2], {"settings": {"model": 1}, "epochs": "[]"}])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "resume.pt"
    torch.save(content, path)
    with pytest.raises(StudyError, match="--force"):
        load_state(path, SETTINGS)


def test_reading_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    torch.save({"settings": module()}, path)
    with pytest.raises(StudyError, match="UnpicklingError"):
        load_state(path, SETTINGS)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    digest = save_weights(path, "fno", weights_of(module()))

    class Unwritable:
        def __reduce__(self) -> tuple[object, ...]:
            raise OSError(28, "No space left on device")

    with pytest.raises(StudyError, match="No space left on device"):
        save_weights(path, "fno", {"0.weight": Unwritable()})  # type: ignore[dict-item]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    load_weights(path, "fno", digest)
