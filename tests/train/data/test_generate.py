"""Whole data sets: their splits, their statistics, and folders that are never left half made."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ptprof.errors import DataError, UnresolvedFlow, UsageError
from ptprof.records import Statistics
from ptprof.train.data import data_sha256, generate, info, shear_flow, trajectories
from ptprof.train.data.generate import plan
from ptprof.train.data.shear_flow import Flow, simulate
from ptprof.train.data.well import WellFile
from ptprof.train.recipe import Recipe, load_recipe


def changed(recipe: Recipe, **data: Any) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=data)})


def test_holds_the_simulations_of_the_plan(data_set: Path, small_recipe: Recipe) -> None:
    places = [place for place in plan(small_recipe) if place.split == "test"]
    written = trajectories(data_set, "test")
    assert len(written) == len(places) == 2
    for place, trajectory in zip(places, written, strict=True):
        flow: Flow = place.flow
        states = simulate(
            (48, 64),
            [0.0, 0.1, 0.6],
            reynolds=flow.reynolds,
            schmidt=flow.schmidt,
            n_shear=flow.n_shear,
            n_blobs=flow.n_blobs,
            width=flow.width,
        )
        torch.testing.assert_close(trajectory[[0, 1, 6]].double(), states, rtol=0, atol=1e-6)


def test_statistics_are_those_of_the_train_split(data_set: Path) -> None:
    train = trajectories(data_set, "train").double().numpy()
    change = np.diff(train, axis=1)
    table = yaml.safe_load((data_set / "stats.yaml").read_text())
    for suffix, values in (("", train), ("_delta", change)):
        axes = (0, 1, 3, 4)
        expected = {
            "mean": values.mean(axes),
            "std": values.std(axes),
            "rms": np.sqrt((values**2).mean(axes)),
        }
        for name, by_channel in expected.items():
            found = table[name + suffix]
            flat = [found["tracer"], found["pressure"], *found["velocity"]]
            np.testing.assert_allclose(flat, by_channel, rtol=1e-9, atol=1e-12)
    statistics = info(data_set).statistics
    assert isinstance(statistics, Statistics)
    np.testing.assert_allclose(statistics.std, train.std((0, 1, 3, 4)), rtol=1e-9)


def test_split_is_by_initial_condition(small_recipe: Recipe) -> None:
    by_split: dict[str, set[tuple[int, int, float]]] = {}
    settings: dict[str, set[tuple[float, float]]] = {}
    for place in plan(small_recipe):
        flow = place.flow
        by_split.setdefault(place.split, set()).add((flow.n_shear, flow.n_blobs, flow.width))
        settings.setdefault(place.split, set()).add((flow.reynolds, flow.schmidt))
    assert {split: len(conditions) for split, conditions in by_split.items()} == {
        "train": 4,
        "valid": 1,
        "test": 1,
    }
    assert len(set.union(*by_split.values())) == 6
    assert all(found == set(small_recipe.data.settings) for found in settings.values())


@pytest.mark.parametrize(("recipe", "counts"), [("quick", (20, 2, 2)), ("paper", (32, 4, 4))])
def test_recipes_split_as_the_paper(recipe: str, counts: tuple[int, int, int]) -> None:
    loaded = load_recipe(recipe)
    places = plan(loaded)
    for split, count in zip(("train", "valid", "test"), counts, strict=True):
        assert sum(place.split == split for place in places) == count * len(loaded.data.settings)


def test_quick_recipe_is_within_what_its_grid_resolves() -> None:
    recipe = load_recipe("quick")
    assert min(recipe.data.width) >= 1
    assert max(reynolds for reynolds, _ in recipe.data.settings) <= 1000
    assert recipe.data.dt == 0.1
    held_out = [p.flow.n_shear for p in plan(recipe) if p.split != "train"]
    assert set(held_out) == set(recipe.data.n_shear)


def test_generating_again_gives_the_same_and_a_finished_one_is_kept(
    data_set: Path, small_recipe: Recipe, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    generate(again, small_recipe)
    assert data_sha256(again) == data_sha256(data_set)
    before = (again / "stats.yaml").stat()
    assert generate(again, small_recipe) == info(again)
    assert (again / "stats.yaml").stat() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dt": 0.2}, "differs from the recipe in dt:"),
        ({"width": (1.5,), "n_blobs": (2, 3, 4)}, "differs from the recipe in n_blobs, width:"),
    ],
)
def test_a_data_set_of_another_recipe_is_not_taken_for_this(
    data_set: Path, small_recipe: Recipe, change: dict[str, Any], says: str
) -> None:
    before = data_sha256(data_set)
    with pytest.raises(DataError, match=says):
        generate(data_set, changed(small_recipe, **change))
    assert data_sha256(data_set) == before


def test_force_replaces(own_copy: Callable[[], Path], small_recipe: Recipe) -> None:
    folder = own_copy()
    recipe = changed(small_recipe, steps=3)
    assert generate(folder, recipe, force=True).splits["train"].steps == 3
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_ours_is_left_alone(tmp_path: Path, small_recipe: Recipe, force: bool) -> None:
    precious = tmp_path / "home" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("ten years of work")
    with pytest.raises(DataError, match="remove it yourself"):
        generate(precious.parent, small_recipe, force=force)
    assert precious.read_text() == "ten years of work"


def test_force_leaves_a_data_set_with_notes_in_it(own_copy: Callable[[], Path], small_recipe: Recipe) -> None:
    folder = own_copy()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="remove it yourself"):
        generate(folder, small_recipe, force=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_simulation_that_fails_leaves_nothing(
    tmp_path: Path, small_recipe: Recipe, own_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flows with a kink fail the check of resolution after first states were written."""
    monkeypatch.setattr(shear_flow, "LARGEST_TAIL", 1e-7)
    folder = own_copy()
    before = data_sha256(folder)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(UnresolvedFlow, match=r"at t = 0\.1"):
            generate(target, small_recipe, force=True)
    assert data_sha256(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_disk_that_fills_up(tmp_path: Path, small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: WellFile, row: int, step: int, state: object) -> None:
        if step == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(WellFile, "write", write)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        generate(tmp_path / "new", small_recipe)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_begun_again(
    tmp_path: Path, data_set: Path, small_recipe: Recipe
) -> None:
    left = tmp_path / ".again.partial" / "data" / "train"
    left.mkdir(parents=True)
    (left / "half.hdf5").write_bytes(b"\x89HDF")
    generate(tmp_path / "again", small_recipe)
    assert data_sha256(tmp_path / "again") == data_sha256(data_set)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_killed_outright(tmp_path: Path) -> None:
    """SIGKILL while files are being written: no data set is there, and what is left is found."""
    code = (
        "import sys; from pathlib import Path; from ptprof.train.data import generate;"
        " from ptprof.train.recipe import load_recipe; generate(Path(sys.argv[1]), load_recipe('quick'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "new"])
    try:
        while not list(tmp_path.rglob("*.hdf5")):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".new.partial"]
    with pytest.raises(DataError, match="holds no train data"):
        info(tmp_path / "new")


def test_a_place_that_cannot_be_written(tmp_path: Path, small_recipe: Recipe) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="cannot be written: Not a directory"):
            generate(folder, small_recipe)


def test_a_swap_that_was_killed_is_undone(
    own_copy: Callable[[], Path], small_recipe: Recipe, data_set: Path
) -> None:
    folder = own_copy()
    folder.rename(folder.with_name(f".{folder.name}.replaced"))
    generate(folder, small_recipe)
    assert data_sha256(folder) == data_sha256(data_set)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_two_at_once_do_not_mix(tmp_path: Path, small_recipe: Recipe) -> None:
    staging = tmp_path / ".new.partial"
    staging.mkdir()
    (staging / "work").write_text("of another process")
    handle = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is at work"):
            generate(tmp_path / "new", small_recipe)
    finally:
        os.close(handle)
    assert (staging / "work").read_text() == "of another process"


def test_a_disk_that_is_too_small(
    tmp_path: Path, small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DataError, match="1e-06 GB free"):
        generate(tmp_path / "new", small_recipe)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_blobs": (2,), "width": (1.5,)}, "too few initial conditions"),
        ({"n_blobs": (2, 2)}, "lists an initial condition twice"),
        ({"settings": ((500.0, 1.0), (500.0, 1.0))}, "lists a setting twice"),
        ({"settings": ((500.0, 1.0), (500.00001, 1.0))}, "the same to six digits"),
        ({"settings": ((-500.0, 1.0),)}, "reynolds must be a positive number"),
        ({"split": (1.0, 0.0, 0.0)}, "shares that are not positive"),
        ({"split": (0.5, 0.1, 0.1)}, "do not sum to 1"),
        ({"steps": 1}, "at least two states, and has 1"),
    ],
)
def test_recipes_that_cannot_be(
    tmp_path: Path, small_recipe: Recipe, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        generate(tmp_path / "new", changed(small_recipe, **change))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("grid", [(32, 64), (50, 100)])
def test_grids_that_the_models_cannot_take(
    tmp_path: Path, small_recipe: Recipe, grid: tuple[int, int]
) -> None:
    with pytest.raises(UsageError, match="multiples of 16"):
        generate(tmp_path / "new", small_recipe.model_copy(update={"grid": grid}))
    assert not list(tmp_path.iterdir())


def test_files_say_how_they_were_made(data_set: Path, small_recipe: Recipe) -> None:
    from ptprof import __version__
    from ptprof.train.data.reading import read_headers

    assert info(data_set).made_by == __version__
    for header in read_headers(data_set, "valid"):
        assert header.provenance is not None
        made_of = json.loads(header.provenance)
        assert made_of["grid"] == [48, 64]
        assert made_of["width"] == list(small_recipe.data.width)


@pytest.fixture(autouse=True)
def _threads_are_as_they_were() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before
