"""The paper's subset of files that look as The Well's do."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from ptprof.errors import DataError
from ptprof.train.data import Windows, data_sha256
from ptprof.train.data.reading import read_headers
from ptprof.train.models.increment import Increment, calibrate
from ptprof.train.recipe import load_recipe

REYNOLDS = ("1e4", "5e4", "1e5", "5e5")
SCHMIDT = ("1e-1", "2e-1", "5e-1", "1e0", "2e0", "5e0", "1e1")
PAIRS = list(itertools.product(REYNOLDS, SCHMIDT))
TRAJECTORIES = {"train": 32, "valid": 4, "test": 4}
STEPS, GRID = 200, (48, 48)

PAPER = load_recipe("paper").data.settings

STATISTICS = {
    "mean": {"tracer": 0.002384, "pressure": 0.0, "velocity": [0.002384, 0.0]},
    "std": {"tracer": 0.35828, "pressure": 0.082052, "velocity": [0.40194, 0.10421]},
    "std_delta": {"tracer": 0.069233, "pressure": 0.004527, "velocity": [0.0088585, 0.0092226]},
}


def name(pair: tuple[str, str]) -> str:
    return f"shear_flow_Reynolds_{pair[0]}_Schmidt_{pair[1]}.hdf5"


def code(pair: tuple[str, str], row: int, step: int) -> int:
    """A number for each state of a split, exact as float32; it stands in the corner of the tracer."""
    return (PAIRS.index(pair) * 32 + row) * STEPS + step


def decode(value: float) -> tuple[tuple[str, str], int, int]:
    trajectory, step = divmod(round(value), STEPS)
    return PAIRS[trajectory // 32], trajectory % 32, step


def write(path: Path, pair: tuple[str, str], trajectories: int, *, mislabelled: bool) -> None:
    """One file with the real numbers of trajectories and states. Chunks reach over all of them, and only
    the one in the corner is written: the others take no room, and HDF5 gives zeros for them.
    """
    shape = (trajectories, STEPS, *GRID)
    with h5py.File(path, "w") as file:
        file.attrs["dataset_name"] = "shear_flow"
        file["dimensions/time"] = np.arange(STEPS, dtype=np.float32) * np.float32(0.1)
        for axis, low, high, count in zip("xy", (0, -1), (1, 1), GRID, strict=True):
            file[f"dimensions/{axis}"] = np.linspace(low, high, count, endpoint=False, dtype=np.float32)
        file["scalars/Rayleigh" if mislabelled else "scalars/Reynolds"] = np.float32(pair[0])
        file["scalars/Schmidt"] = np.float32(pair[1])
        chunks = (trajectories, STEPS, 1, 1)
        tracer = file.create_dataset("t0_fields/tracer", shape, "f4", chunks=chunks)
        file.create_dataset("t0_fields/pressure", shape, "f4", chunks=chunks)
        file.create_dataset("t1_fields/velocity", (*shape, 2), "f4", chunks=(*chunks, 2))
        first = code(pair, 0, 0)
        tracer[:, :, 0, 0] = np.arange(first, first + trajectories * STEPS).reshape(trajectories, STEPS)


@pytest.fixture(scope="session")
def the_well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 files for each split; in half of them the Reynolds number is called Rayleigh."""
    folder = tmp_path_factory.mktemp("the_well") / "shear_flow"
    for split, trajectories in TRAJECTORIES.items():
        (folder / "data" / split).mkdir(parents=True)
        for number, pair in enumerate(PAIRS):
            path = folder / "data" / split / name(pair)
            write(path, pair, trajectories, mislabelled=number % 2 == 0)
    (folder / "stats.yaml").write_text(yaml.safe_dump(STATISTICS))
    return folder


@pytest.fixture
def selection_only(the_well: Path, tmp_path: Path) -> Path:
    """A copy that has the paper's files and no others."""
    wanted = {name(pair) for pair in PAIRS if (float(pair[0]), float(pair[1])) in PAPER}
    assert len(wanted) == 6
    folder = tmp_path / "shear_flow"
    shutil.copytree(
        the_well,
        folder,
        ignore=lambda place, names: (
            [] if Path(place).name not in TRAJECTORIES else [n for n in names if n not in wanted]
        ),
    )
    return folder


def test_the_papers_numbers(the_well: Path) -> None:
    """240 simulations; 37,632 one-step samples to train with, 4,704 to test with, 24 rollouts from t = 0."""
    splits = {s: Windows(the_well, s, 4, settings=PAPER, preload=False) for s in TRAJECTORIES}
    assert {split: len(windows) for split, windows in splits.items()} == {
        "train": 37_632,
        "valid": 4_704,
        "test": 4_704,
    }
    rollouts = list(splits["test"].trajectories(batch=5, steps=24))
    assert [tuple(states.shape) for states in rollouts] == [(5, 24, 4, *GRID)] * 4 + [(4, 24, 4, *GRID)]
    begun = torch.cat(rollouts)[:, 0, 0, 0, 0]
    seen = [decode(float(value)) for value in begun]
    assert len(set(seen)) == 24
    assert {step for _, _, step in seen} == {0}
    assert {(float(re), float(sc)) for (re, sc), _, _ in seen} == set(PAPER)


def test_each_window_is_of_a_selected_file(the_well: Path) -> None:
    windows = Windows(the_well, "train", 4, settings=PAPER, preload=False)
    std, mean = STATISTICS["std"]["tracer"], STATISTICS["mean"]["tracer"]
    assert isinstance(std, float)
    assert isinstance(mean, float)
    files = sorted(name(pair) for pair in PAIRS if (float(pair[0]), float(pair[1])) in PAPER)
    for index in [0, 195, 196, 6271, 6272, 37_631, *range(1000, 37_000, 3571)]:
        window, target = windows[index]
        corners = torch.cat([window[::4, 0, 0], target[:1, 0, 0]]).double() * std + mean
        (pair, row, step), *following = (decode(float(value)) for value in corners)
        assert following == [(pair, row, step + k) for k in range(1, 5)]
        trajectory, start = divmod(index, STEPS - 4)
        assert (files.index(name(pair)), row, step) == (*divmod(trajectory, 32), start)


def test_the_paper_selects_and_quick_takes_what_is_there() -> None:
    assert load_recipe("paper").selection == PAPER
    assert load_recipe("quick").selection is None


def test_without_settings_every_file_counts(the_well: Path) -> None:
    assert len(Windows(the_well, "test", 4, preload=False)) == 28 * 4 * 196


def test_names_do_not_matter(selection_only: Path) -> None:
    for number, path in enumerate(sorted((selection_only / "data" / "test").iterdir())):
        path.rename(path.with_name(f"part{number}.h5"))
    assert len(Windows(selection_only, "test", 4, settings=PAPER, preload=False)) == 4_704


def test_a_setting_that_is_missing(selection_only: Path) -> None:
    (selection_only / "data" / "valid" / name(("1e5", "1e0"))).unlink()
    assert len(Windows(selection_only, "train", 4, settings=PAPER, preload=False)) == 37_632
    with pytest.raises(DataError, match="has no valid data of Re 100000 Sc 1; there is") as caught:
        Windows(selection_only, "valid", 4, settings=PAPER, preload=False)
    text = str(caught.value)
    assert "\n" not in text
    there = ["Re 10000 Sc 0.1", "Re 10000 Sc 1", "Re 10000 Sc 10", "Re 100000 Sc 0.1", "Re 100000 Sc 10"]
    assert text.endswith(f"there is {', '.join(there)}")


def test_scalars_are_compared_as_the_numbers_that_they_stand_for(selection_only: Path) -> None:
    near, far = ((10_003.0, 0.1), (1e4, 0.11))
    assert len(read_headers(selection_only, "test", [near])) == 1
    with pytest.raises(DataError, match=r"has no test data of Re 10000 Sc 0\.11;"):
        read_headers(selection_only, "test", [far])


def test_files_that_say_nothing_of_their_setting(selection_only: Path) -> None:
    for path in (selection_only / "data" / "test").iterdir():
        with h5py.File(path, "r+") as file:
            del file["scalars/Schmidt"]
    with pytest.raises(DataError, match=r"there is none that says$"):
        Windows(selection_only, "test", 4, settings=PAPER)
    with pytest.raises(DataError, match=r"there is none that says$"):
        data_sha256(selection_only, PAPER)


def test_a_scalar_for_each_trajectory(selection_only: Path) -> None:
    """One value for all of them is that of the file; several are not."""
    path = selection_only / "data" / "test" / name(("1e4", "1e0"))
    with h5py.File(path, "r+") as file:
        del file["scalars/Schmidt"]
        file["scalars/Schmidt"] = np.ones(4, np.float32)
    assert len(Windows(selection_only, "test", 4, settings=PAPER, preload=False)) == 4_704
    with h5py.File(path, "r+") as file:
        file["scalars/Schmidt"][2] = 2
    with pytest.raises(DataError, match="has no test data of Re 10000 Sc 1;"):
        Windows(selection_only, "test", 4, settings=PAPER, preload=False)


def others(folder: Path, change: Callable[[h5py.File], None]) -> None:
    for split, pair in itertools.product(TRAJECTORIES, PAIRS):
        if (float(pair[0]), float(pair[1])) not in PAPER:
            with h5py.File(folder / "data" / split / name(pair), "r+") as file:
                change(file)


def test_of_other_files_only_the_scalars_are_read(the_well: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(the_well, tmp_path / "shear_flow"))

    def spoil(file: h5py.File) -> None:
        del file["t1_fields"], file["dimensions"]

    others(folder, spoil)
    assert len(Windows(folder, "train", 4, settings=PAPER, preload=False)) == 37_632
    with pytest.raises(DataError, match="not in The Well's layout"):
        Windows(folder, "train", 4, preload=False)


def test_the_hash_is_that_of_the_selection(the_well: Path, selection_only: Path) -> None:
    chosen = data_sha256(the_well, PAPER)
    assert chosen == data_sha256(selection_only, PAPER) == data_sha256(selection_only)
    assert len({chosen, data_sha256(the_well), data_sha256(the_well, PAPER[:5])}) == 3
    with h5py.File(selection_only / "data" / "test" / name(("1e5", "1e1")), "r+") as file:
        file["t0_fields/tracer"][0, 0, 0, 0] += 1
    assert data_sha256(selection_only, PAPER) != chosen


def test_statistics_are_the_folders_own(the_well: Path) -> None:
    """The Well's, over all of its train files, whatever is selected."""
    found = Windows(the_well, "test", 4, settings=PAPER[:1], preload=False).statistics
    assert found.std == (0.35828, 0.082052, 0.40194, 0.10421)
    assert found.change_std == (0.069233, 0.004527, 0.0088585, 0.0092226)


def test_statistics_without_those_of_changes(selection_only: Path) -> None:
    """As in the first files that The Well published."""
    older = {key: STATISTICS[key] for key in ("mean", "std")}
    (selection_only / "stats.yaml").write_text(yaml.safe_dump(older))
    found = Windows(selection_only, "test", 4, settings=PAPER, preload=False).statistics
    assert found.change_std == ()
    with pytest.raises(DataError, match=r"stats\.yaml lacks std_delta"):
        calibrate(Increment(torch.nn.Identity(), 4), found)
