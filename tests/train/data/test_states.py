"""States read past HDF5, in every layout that it writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptprof.errors import DataError
from ptprof.train.data.states import AS_STORED, Scale, StateFile

SHAPE = (3, 11, 10, 14)
DATASETS = {"t0_fields/tracer": SHAPE, "t0_fields/pressure": SHAPE, "t1_fields/velocity": (*SHAPE, 2)}

STATES = np.random.default_rng(0).standard_normal((*SHAPE[:2], 4, *SHAPE[2:])).astype(np.float32)
"""``(N, T, C, X, Y)``"""


def values(name: str) -> np.ndarray[Any, Any]:
    """What a dataset holds of `STATES`."""
    if name == "t1_fields/velocity":
        return np.moveaxis(STATES[:, :, 2:], 2, -1)
    return STATES[:, :, ["t0_fields/tracer", "t0_fields/pressure"].index(name)]


def write(path: Path, **options: Any) -> StateFile:
    """A file of `STATES`, each dataset made with ``options``."""
    of_file = {key: options.pop(key) for key in ("libver", "userblock_size") if key in options}
    with h5py.File(path, "w", **of_file) as file:
        for name in DATASETS:
            file.create_dataset(name, data=values(name), **options)
    return StateFile.at(path)


def read(file: StateFile, row: int, start: int, stop: int, scale: Scale = AS_STORED) -> np.ndarray[Any, Any]:
    out = np.full((stop - start, *STATES.shape[2:]), np.nan, dtype=np.float32)
    file.read(row, start, list(out), scale)
    return out


@pytest.mark.parametrize(
    ("straight", "options"),
    [
        (True, {}),
        (True, {"chunks": True}),
        (True, {"chunks": True, "libver": "latest"}),
        (False, {"chunks": True, "compression": "gzip"}),
        (False, {"chunks": True, "shuffle": True}),
        (False, {"chunks": True, "fletcher32": True}),
        (False, {"dtype": "<f8"}),
        (False, {"dtype": ">f4"}),
        (False, {"userblock_size": 512}),
    ],
)
def test_every_layout_gives_the_same_states(tmp_path: Path, straight: bool, options: dict[str, Any]) -> None:
    file = write(tmp_path / "f.hdf5", **options)
    assert (file.blocks is not None) == straight
    for row, start, stop in ((0, 0, 11), (2, 3, 8), (1, 10, 11)):
        np.testing.assert_array_equal(read(file, row, start, stop), STATES[row, start:stop])


@settings(max_examples=60, deadline=None)
@given(
    chunk=st.tuples(*(st.integers(1, side) for side in SHAPE)),
    components=st.integers(1, 2),
    row=st.integers(0, SHAPE[0] - 1),
    span=st.tuples(st.integers(0, SHAPE[1] - 1), st.integers(1, SHAPE[1])),
    run=st.sampled_from([1, 2000, 1 << 20]),
)
def test_chunks_of_any_shape(
    tmp_path_factory: pytest.TempPathFactory,
    chunk: tuple[int, ...],
    components: int,
    row: int,
    span: tuple[int, int],
    run: int,
) -> None:
    """Chunks that hold parts of states, several states or several trajectories, and those at the edges."""
    path = tmp_path_factory.mktemp("chunks") / "f.hdf5"
    with h5py.File(path, "w") as made:
        for name, shape in DATASETS.items():
            sides = (*chunk, components) if len(shape) == 5 else chunk
            made.create_dataset(name, data=values(name), chunks=sides)
    start, stop = span[0], min(SHAPE[1], span[0] + span[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptprof.train.data.states.RUN_BYTES", run)
        file = StateFile.at(path)
        assert file.blocks is not None
        np.testing.assert_array_equal(read(file, row, start, stop), STATES[row, start:stop])


@pytest.mark.parametrize("options", [{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}])
def test_scaled_as_float32_arithmetic_has_it(tmp_path: Path, options: dict[str, Any]) -> None:
    """First the mean is subtracted, then the deviation divided by; the same bits whichever way it is read."""
    scale = Scale.of((0.5, -0.1, 0.3, 2.0), (0.4, 0.03, 0.7, 0.2))
    states = read(write(tmp_path / "f.hdf5", **options), 1, 2, 7, scale)
    expected = (STATES[1, 2:7] - scale.mean.reshape(-1, 1, 1)) / scale.std.reshape(-1, 1, 1)
    np.testing.assert_array_equal(states, expected)


def test_what_was_never_written_is_hdf5s_fill_value(tmp_path: Path) -> None:
    """HDF5 gives values for chunks that no file holds."""
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as made:
        for name, shape in DATASETS.items():
            made.create_dataset(name, shape, dtype="f4", chunks=(1, 1, *shape[2:]), fillvalue=0.25)
        made["t0_fields/tracer"][1, 4] = STATES[1, 4, 0]
    states = read(StateFile.at(path), 1, 3, 6)
    np.testing.assert_array_equal(states[1, 0], STATES[1, 4, 0])
    assert (states[[0, 2]] == 0.25).all()
    assert (states[:, 1:] == 0.25).all()


@pytest.mark.parametrize("options", [{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "place", "says"),
    [
        ("t0_fields/tracer", (1, 5, 9, 13), "tracer of trajectory 1, step 5"),
        ("t0_fields/pressure", (0, 0, 0, 0), "pressure of trajectory 0, step 0"),
        ("t1_fields/velocity", (2, 10, 3, 4, 1), "velocity_y of trajectory 2, step 10"),
    ],
)
def test_values_that_are_not_finite(
    tmp_path: Path, options: dict[str, Any], value: float, name: str, place: tuple[int, ...], says: str
) -> None:
    path = tmp_path / "f.hdf5"
    write(path, **options)
    with h5py.File(path, "r+") as made:
        made[name][place] = value
    file = StateFile.at(path)
    with pytest.raises(DataError, match=f"f.hdf5: {says} holds NaN or infinity") as caught:
        read(file, place[0], 0, 11)
    assert "\n" not in str(caught.value)
    other = (place[0] + 1) % 3
    np.testing.assert_array_equal(read(file, other, 0, 11), STATES[other])


def removed(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replaced(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def rewritten(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["t0_fields/tracer"][...] = 0
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (removed, "is not there any more"),
        (cut_short, "was changed while it was in use: start again"),
        (replaced, "was changed while it was in use: start again"),
        (rewritten, "was changed while it was in use: start again"),
    ],
)
def test_a_file_that_changes_in_use(
    tmp_path: Path, options: dict[str, Any], change: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "f.hdf5"
    file = write(path, **options)
    change(path)
    with pytest.raises(DataError, match=f"f.hdf5 {says}"):
        read(file, 0, 0, 3)


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    """Its structure is whole, and the end of its values is missing."""
    path = tmp_path / "f.hdf5"
    write(path)
    file = StateFile.at(path)
    assert file.blocks is not None
    last = int(file.blocks[2].offsets.flat[0])
    os.truncate(path, last + 100)
    status = path.stat()
    shortened = StateFile(path, (status.st_size, status.st_mtime_ns), file.blocks)
    with pytest.raises(DataError, match="trajectory 1 cannot be read; is the file whole"):
        read(shortened, 1, 0, 3)


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    path = tmp_path / "f.hdf5"
    file = write(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read(file, 0, 0, 1)
