"""Reading shear-flow data in The Well's layout, ours or theirs, and refusing what cannot be used.

A file is checked in two steps: its structure when a folder is opened, its values when they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ptprof.errors import DataError
from ptprof.records import Statistics, Value
from ptprof.train.data.shear_flow import FIELDS
from ptprof.train.data.statistics import FILE as STATISTICS_FILE
from ptprof.train.data.statistics import read_statistics
from ptprof.train.data.well import PROVENANCE, VERSION

SPLITS = ("train", "valid", "test")

BLOCK_BYTES = 1 << 20
HASHED_BLOCKS = 128


class SplitInfo(Value):
    """One split of a data set; ``steps`` is the number of states of its shortest trajectory."""

    files: int
    trajectories: int
    steps: int


class DatasetInfo(Value):
    """What a data folder holds.

    ``dt`` is the time between states; ``scalars`` the constant parameters of each file, by name;
    ``made_by`` the version of ptprof that simulated it, None where it was another program.
    """

    name: str
    grid: tuple[int, int]
    fields: tuple[str, ...]
    dt: float
    scalars: tuple[dict[str, float], ...]
    splits: dict[str, SplitInfo]
    statistics: Statistics
    size_bytes: int
    made_by: str | None = None


@dataclass(frozen=True)
class Header:
    """What the structure of one HDF5 file tells."""

    path: Path
    name: str
    trajectories: int
    steps: int
    grid: tuple[int, int]
    dt: float
    scalars: dict[str, float]
    made_by: str | None
    provenance: str | None


def info(folder: Path) -> DatasetInfo:
    """What ``folder`` holds; the structure of every file is checked, no value is read.

    Raises
    ------
    DataError : no data set, or one with a file that cannot be used
    """
    headers = {split: read_headers(folder, split) for split in SPLITS}
    every = [header for split in SPLITS for header in headers[split]]
    first = every[0]
    for header in every:
        if header.grid != first.grid:
            raise DataError(f"{header.path} has another grid than {first.path}")
    scalars = {tuple(header.scalars.items()): header.scalars for header in every}
    return DatasetInfo(
        name=first.name,
        grid=first.grid,
        fields=FIELDS,
        dt=first.dt,
        scalars=tuple(scalars.values()),
        splits={
            split: SplitInfo(
                files=len(chosen),
                trajectories=sum(h.trajectories for h in chosen),
                steps=min(h.steps for h in chosen),
            )
            for split, chosen in headers.items()
        },
        statistics=read_statistics(folder),
        size_bytes=sum(path.stat().st_size for path in files(folder)),
        made_by=first.made_by,
    )


def files(folder: Path) -> list[Path]:
    """Every file of the data set in ``folder``: the statistics, then the splits' files by name."""
    return [folder / STATISTICS_FILE, *(path for split in SPLITS for path in _split_files(folder, split))]


def read_headers(folder: Path, split: str) -> list[Header]:
    """The headers of the files of a split, by name.

    Raises
    ------
    DataError : no such split, or a file that lacks something
    """
    paths = _split_files(folder, split)
    if not paths:
        raise DataError(
            f"{folder} holds no {split} data: generate it with `ptprof data generate`, or put The Well's"
            " shear_flow there (data/train, data/valid, data/test and stats.yaml)"
        )
    return [_read_header(path) for path in paths]


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read; raises DataError for one that is cut short or is not HDF5."""
    try:
        file = h5py.File(path, "r")
    except OSError:
        state = "cannot be read as HDF5; is it whole?" if path.exists() else "is not there"
        raise DataError(f"{path} {state}") from None
    with file:
        yield file


def read_states(file: h5py.File, path: Path, row: int, start: int, stop: int) -> NDArray[np.float32]:
    """States ``start`` to ``stop`` of trajectory ``row``, ``(stop - start, C, X, Y)``, physical units.

    Raises
    ------
    DataError : a value that is not finite, or a part of the file that cannot be read
    """
    try:
        scalars = [file["t0_fields"][name][row, start:stop] for name in FIELDS[:2]]
        velocity = file["t1_fields"]["velocity"][row, start:stop]
    except OSError:
        raise DataError(f"{path}: trajectory {row} cannot be read; is the file whole?") from None
    states = np.stack([*scalars, velocity[..., 0], velocity[..., 1]], axis=1).astype(np.float32, copy=False)
    finite = np.isfinite(states).all((2, 3))
    if not finite.all():
        step, field = np.argwhere(~finite)[0]
        raise DataError(
            f"{path}: {FIELDS[field]} of trajectory {row}, step {start + step} holds NaN or infinity"
        )
    return states


def data_sha256(folder: Path) -> str:
    """A hash of the data set in ``folder``: names, sizes and contents of its files.

    Of a file above 128 MiB, 128 evenly spread blocks of 1 MiB count; The Well's files are too long to be
    read whole at every training.

    Raises
    ------
    DataError : no data set
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        read_headers(folder, split)
    for path in files(folder):
        try:
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
            with path.open("rb") as file:
                for offset in _offsets(size):
                    file.seek(offset)
                    digest.update(file.read(BLOCK_BYTES))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _offsets(size: int) -> list[int]:
    if size <= HASHED_BLOCKS * BLOCK_BYTES:
        return list(range(0, size, BLOCK_BYTES))
    last = size - BLOCK_BYTES
    return [last * block // (HASHED_BLOCKS - 1) for block in range(HASHED_BLOCKS)]


def _split_files(folder: Path, split: str) -> list[Path]:
    found = folder.joinpath("data", split).glob("*")
    return sorted(p for p in found if p.suffix in {".hdf5", ".h5"} and not p.name.startswith("."))


def _read_header(path: Path) -> Header:
    with open_hdf5(path) as file:
        try:
            time = np.atleast_1d(file["dimensions"]["time"][()])
            grid = tuple(file["dimensions"][axis].shape[-1] for axis in ("x", "y"))
            shapes = {name: file["t0_fields"][name].shape for name in FIELDS[:2]}
            shapes["velocity"] = file["t1_fields"]["velocity"].shape
            scalars = {name: dataset for name, dataset in file["scalars"].items() if dataset.shape == ()}
            header = Header(
                path=path,
                name=str(file.attrs.get("dataset_name", "shear_flow")),
                trajectories=shapes["tracer"][0],
                steps=time.shape[-1],
                grid=(int(grid[0]), int(grid[1])),
                dt=_spacing(path, time),
                scalars={_scalar_name(name): float(value[()]) for name, value in sorted(scalars.items())},
                made_by=_text(file, VERSION),
                provenance=_text(file, PROVENANCE),
            )
        except (KeyError, AttributeError, IndexError, ValueError) as error:
            missing = error.args[0] if error.args else "a group"
            raise DataError(f"{path} is not in The Well's layout of shear_flow: {missing}") from None
        except OSError:
            raise DataError(f"{path} cannot be read as HDF5; is it whole?") from None
    expected = (header.trajectories, header.steps, *header.grid)
    for name, shape in shapes.items():
        wanted = (*expected, 2) if name == "velocity" else expected
        if shape != wanted:
            raise DataError(f"{path}: {name} has shape {shape}, and {wanted} was expected")
    return header


def _spacing(path: Path, time: NDArray[np.floating]) -> float:
    steps = np.diff(time.astype(np.float64), axis=-1)
    if not steps.size:
        raise DataError(f"{path} holds a single time: there is no step to forecast")
    dt = float(np.median(steps))
    if not np.isfinite(steps).all() or dt <= 0 or np.abs(steps - dt).max() > 0.01 * dt:
        raise DataError(f"{path}: its times are not evenly spaced")
    return float(f"{dt:.5g}")


def _scalar_name(name: str) -> str:
    """The Reynolds number of The Well's files is labelled Rayleigh in some."""
    return "Reynolds" if name == "Rayleigh" else name


def _text(file: h5py.File, attribute: str) -> str | None:
    value = file.attrs.get(attribute)
    return None if value is None else str(value)
