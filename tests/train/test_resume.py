"""Trainings that are killed at the worst moments, and go on as if they had not been."""

from __future__ import annotations

import errno
import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from rich.progress import Progress

from ptprof.errors import StudyError
from ptprof.records import Epoch, RunRecord
from ptprof.study import Study
from ptprof.train import train
from ptprof.train.recipe import Recipe
from ptprof.train.run_folder import alone

MODEL, RUN = "fno", "fno-quick-s0"
PAUSE_S = 1.5

# Killed while the second epoch's state is on its way to the disk, or after a pause in the second epoch.
KILLED = dedent(
    """
    import os, signal, sys, time
    from pathlib import Path
    from rich.progress import Progress
    from ptprof import study
    from ptprof.train import checkpoint, train
    from ptprof.train.recipe import Recipe

    moment, folder, recipe, pause_s = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    states = 0

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    class Kill(Progress):
        def update(self, *args, completed=None, **changes):
            if moment == "in the middle of an epoch" and completed == 3:
                time.sleep(pause_s)
                kill()
            super().update(*args, completed=completed, **changes)

    write, rename = checkpoint.torch.save, study.os.replace

    def half(content, file):
        global states
        write(content, file)
        states += "optimizer" in content
        if moment == "in the middle of a checkpoint" and states == 2:
            file.truncate(file.tell() // 2)
            kill()

    def named(source, target):
        rename(source, target)
        if moment == "after a checkpoint has its name" and states == 2 and Path(target).name == "resume.pt":
            kill()

    checkpoint.torch.save, study.os.replace = half, named
    train(
        study.Study(folder),
        "fno",
        Recipe.model_validate_json(Path(recipe).read_text()),
        progress=Kill(disable=True),
    )
    """
)


@pytest.fixture(scope="module")
def recipe(small_recipe: Callable[..., Recipe]) -> Recipe:
    """Three epochs of two steps."""
    return small_recipe(max_epochs=3, steps_per_epoch=2)


@pytest.fixture(scope="module")
def whole(flows: Path, tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> RunRecord:
    """The same training, never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "data").symlink_to(flows)
    return train(Study(folder), MODEL, recipe)


def log(study: Study) -> list[Epoch]:
    lines = (study.run_folder(RUN) / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
    return [Epoch.model_validate_json(line) for line in lines]


def killed(study: Study, recipe: Recipe, moment: str, pause_s: float = 0.0) -> None:
    settings = study.root / "recipe.json"
    settings.write_text(recipe.model_dump_json())
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, moment, study.root, settings, str(pause_s)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize(
    ("moment", "saved"),
    [
        ("in the middle of an epoch", 1),
        ("in the middle of a checkpoint", 1),
        ("after a checkpoint has its name", 2),
    ],
)
def test_a_killed_training_ends_bit_for_bit_the_same(
    new_study: Study, whole: RunRecord, recipe: Recipe, moment: str, saved: int
) -> None:
    killed(new_study, recipe, moment, PAUSE_S if moment == "in the middle of an epoch" else 0.0)
    assert new_study.runs() == []
    run = train(new_study, MODEL, recipe)
    assert run.checkpoint_sha256 == whole.checkpoint_sha256
    assert (run.epochs, run.best_valid_loss) == (whole.epochs, whole.best_valid_loss)
    folder = new_study.run_folder(RUN)
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint.pt", "epochs.jsonl", "run.json"]

    epochs = log(new_study)
    kept_s, kept_j = sum(e.duration_s for e in epochs), sum(e.energy.present["cpu"].joules for e in epochs)
    assert run.energy.cpu is not None
    if saved == 2:
        # The second epoch was saved: nothing of it is lost, however little its journal knows of that.
        assert run.lost_energy is None
        assert (run.duration_s, run.energy.cpu.joules) == pytest.approx((kept_s, kept_j))
        return
    assert run.lost_energy is not None
    assert run.lost_energy.cpu is not None
    assert run.duration_s == pytest.approx(kept_s + run.lost_s)
    assert run.energy.cpu.joules == pytest.approx(kept_j + run.lost_energy.cpu.joules)
    assert run.lost_energy.cpu.joules > 0
    if moment == "in the middle of an epoch":
        # It paused, and was killed: of the pause, no more than the last second may be missing.
        assert run.lost_s > PAUSE_S - 1


class Stop(Progress):
    """A progress display that interrupts the training at a step of its choice, after a second."""

    def __init__(self, at: int) -> None:
        super().__init__(disable=True)
        self.at = at

    def update(self, *args: object, completed: float | None = None, **changes: object) -> None:
        if completed == self.at:
            time.sleep(0.6)
            raise KeyboardInterrupt


def test_what_is_lost_adds_up_over_sittings(new_study: Study, whole: RunRecord, recipe: Recipe) -> None:
    for at in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            train(new_study, MODEL, recipe, progress=Stop(at))
    run = train(new_study, MODEL, recipe)
    assert run.lost_s > 3 * 0.6
    assert run.checkpoint_sha256 == whole.checkpoint_sha256


def test_what_is_begun_anew_has_lost_nothing(new_study: Study, recipe: Recipe) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(new_study, MODEL, recipe, progress=Stop(1))
    run = train(new_study, MODEL, recipe.model_copy(update={"max_epochs": 1}), force=True)
    assert (run.lost_s, run.lost_energy) == (0.0, None)


def test_two_do_not_train_one_run_at_once(new_study: Study, recipe: Recipe) -> None:
    with alone(new_study.run_folder(RUN)), pytest.raises(StudyError, match=f"another process trains {RUN}"):
        train(new_study, MODEL, recipe)
    assert not new_study.run_folder(RUN).exists()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with alone(tmp_path / "run"):
        (tmp_path / "run" / "run.json").touch()
    assert (tmp_path / "run" / "run.json").exists()


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    for name in (".resume.pt.x1y2.pt", "resume.pt"):
        (tmp_path / name).touch()
    with alone(tmp_path):
        assert [p.name for p in tmp_path.iterdir()] == ["resume.pt"]
