"""Folders and files that cannot be used, and those of others that can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ptprof.errors import DataError
from ptprof.train.data import FIELDS, Windows, data_sha256, digest, info, trajectories

Damage = Callable[[Path], None]


def first_file(folder: Path, split: str = "train") -> Path:
    return min((folder / "data" / split).glob("*.hdf5"))


def cut_in_half(folder: Path) -> None:
    path = first_file(folder)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def overwritten(folder: Path) -> None:
    first_file(folder).write_text("not HDF5")


def without_statistics(folder: Path) -> None:
    (folder / "stats.yaml").unlink()


def statistics(text: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / "stats.yaml").write_text(text)

    return damage


def without(name: str) -> Damage:
    def damage(folder: Path) -> None:
        with h5py.File(first_file(folder), "r+") as file:
            del file[name]

    return damage


def reshaped(name: str, shape: tuple[int, ...]) -> Damage:
    def damage(folder: Path) -> None:
        with h5py.File(first_file(folder), "r+") as file:
            del file[name]
            file[name] = np.zeros(shape, np.float32)

    return damage


def with_times(times: list[float]) -> Damage:
    def damage(folder: Path) -> None:
        with h5py.File(first_file(folder), "r+") as file:
            file["dimensions/time"][...] = times

    return damage


def only_valid_is_empty(folder: Path) -> None:
    for path in (folder / "data" / "valid").iterdir():
        path.unlink()


ONES = "{tracer: 1.0, pressure: 1.0, velocity: [1.0, 1.0]}"
STATS = "mean: {tracer: 0.0, pressure: 0.0, velocity: [0.0, 0.0]}\nstd: "


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut_in_half, "cannot be read as HDF5; is it whole?"),
        (overwritten, "cannot be read as HDF5; is it whole?"),
        (without_statistics, "stats.yaml is not there"),
        (statistics("mean: ["), "cannot be read as YAML"),
        (statistics("just words"), "does not give 'mean'"),
        (statistics(STATS + "{tracer: 1.0, pressure: 1.0}"), "does not give 'std'"),
        (statistics(STATS + "{tracer: 1.0, pressure: 0.0, velocity: [1.0, 1.0]}"), "pressure a standard dev"),
        (statistics(STATS + "{tracer: 1.0, pressure: .nan, velocity: [1.0, 1.0]}"), "one finite number"),
        (statistics(STATS + "{tracer: 1.0, pressure: 1.0, velocity: [1.0]}"), "one finite number"),
        (statistics(f"{STATS}{ONES}\nstd_delta: {{tracer: 1.0}}"), "does not give 'std_delta'"),
        (statistics(f"{STATS}{ONES}\nstd_delta: {ONES[:-5]}.inf]}}"), "gives 'std_delta' that is not one"),
        (without("t0_fields/pressure"), "not in The Well's layout"),
        (without("t1_fields"), "not in The Well's layout"),
        (without("dimensions/time"), "not in The Well's layout"),
        (reshaped("t0_fields/tracer", (4, 7, 48, 63)), r"tracer has shape \(4, 7, 48, 63\)"),
        (reshaped("t1_fields/velocity", (4, 7, 48, 64, 3)), r"velocity has shape \(4, 7, 48, 64, 3\)"),
        (reshaped("t0_fields/tracer", ()), "not in The Well's layout"),
        (with_times([0.0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8]), "times are not evenly spaced"),
        (with_times([0.0] * 7), "times are not evenly spaced"),
        (with_times([float("nan")] * 7), "times are not evenly spaced"),
        (only_valid_is_empty, "holds no valid data: generate it with `ptprof data generate`"),
    ],
)
def test_what_cannot_be_used_is_named(own_copy: Callable[[], Path], damage: Damage, says: str) -> None:
    folder = own_copy()
    damage(folder)
    with pytest.raises(DataError, match=says) as caught:
        info(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [info, data_sha256, lambda folder: Windows(folder, "train", 4)])
def test_no_data_set_at_all(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(DataError):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (("t0_fields/pressure", (1, 3, 5, 7)), "pressure of trajectory 1, step 3 holds NaN or infinity"),
        (("t1_fields/velocity", (2, 0, 5, 7, 1)), "velocity_y of trajectory 2, step 0 holds NaN or infinity"),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_found(
    own_copy: Callable[[], Path], place: tuple[str, tuple[int, ...]], says: str, value: float
) -> None:
    folder = own_copy()
    path = first_file(folder)
    with h5py.File(path, "r+") as file:
        file[place[0]][place[1]] = value
    for read in (
        lambda: Windows(folder, "train", 4),
        lambda: list(map(Windows(folder, "train", 4, preload=False).__getitem__, range(12))),
        lambda: trajectories(folder, "train"),
    ):
        with pytest.raises(DataError, match=says) as caught:
            read()
        assert str(path) in str(caught.value)


def test_a_grid_that_the_models_cannot_take(own_copy: Callable[[], Path]) -> None:
    folder = own_copy()
    for path in folder.rglob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            for name in ("t0_fields/tracer", "t0_fields/pressure", "t1_fields/velocity", "dimensions/x"):
                values = file[name][()]
                del file[name]
                file[name] = values[:32] if name == "dimensions/x" else values[:, :, :32]
    assert info(folder).grid == (32, 64)
    with pytest.raises(DataError, match="a grid of 32x64 cannot be used"):
        Windows(folder, "train", 4)


def test_files_of_two_grids(own_copy: Callable[[], Path], data_set: Path) -> None:
    folder = own_copy()
    path = first_file(folder)
    with h5py.File(path, "r+") as file:
        for name in ("t0_fields/tracer", "t0_fields/pressure", "t1_fields/velocity", "dimensions/x"):
            values = file[name][()]
            del file[name]
            file[name] = values[:16] if name == "dimensions/x" else values[:, :, :16]
    for read in (lambda: info(folder), lambda: Windows(folder, "train", 4)):
        with pytest.raises(DataError, match="has another grid than"):
            read()


def test_the_wells_own_files_are_read(own_copy: Callable[[], Path], data_set: Path) -> None:
    """Theirs differ: a Rayleigh number that is a Reynolds number, no trace of ptprof, other endings."""
    folder = own_copy()
    for path in list(folder.rglob("*.hdf5")):
        with h5py.File(path, "r+") as file:
            file["scalars"].move("Reynolds", "Rayleigh")
            file["scalars"].attrs["field_names"] = ["Rayleigh", "Schmidt"]
            for name in ("ptprof_version", "ptprof_recipe"):
                del file.attrs[name]
        path.rename(path.with_suffix(".h5"))
    found = info(folder)
    assert found.made_by is None
    assert {"Reynolds": 500.0, "Schmidt": 1.0} in found.scalars
    assert torch.equal(Windows(folder, "train", 4)[3][0], Windows(data_set, "train", 4)[3][0])


def test_info_counts(data_set: Path) -> None:
    found = info(data_set)
    assert found.fields == FIELDS
    assert found.grid == (48, 64)
    assert found.dt == 0.1
    assert {name: (s.files, s.trajectories, s.steps) for name, s in found.splits.items()} == {
        "train": (2, 8, 7),
        "valid": (2, 2, 7),
        "test": (2, 2, 7),
    }
    data = [data_set / "stats.yaml", *data_set.rglob("*.hdf5")]
    assert found.size_bytes == sum(path.stat().st_size for path in data)
    assert found.size_bytes > 12 * 7 * 4 * 48 * 64 * 4


def test_digest_sees_every_file_and_no_folder(
    own_copy: Callable[[], Path], data_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_copy()
    assert data_sha256(folder) == data_sha256(data_set)
    seen = {data_sha256(folder)}
    for path in (folder / "stats.yaml", first_file(folder), first_file(folder, "test")):
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        seen.add(data_sha256(folder))
    renamed = first_file(folder, "valid")
    renamed.rename(renamed.with_name("other.hdf5"))
    seen.add(data_sha256(folder))
    assert len(seen) == 5


def test_digest_of_a_long_file_reads_blocks_of_it(
    own_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(digest, "HASHED_BLOCKS", 11)
    folder = own_copy()
    path = first_file(folder)
    size = path.stat().st_size
    before = data_sha256(folder)
    changes = []
    for offset in (size // 2, size // 20, size - 1):
        content = bytearray(path.read_bytes())
        content[offset] ^= 1
        path.write_bytes(content)
        changes.append(data_sha256(folder) != before)
        content[offset] ^= 1
        path.write_bytes(content)
    assert changes == [True, False, True]
