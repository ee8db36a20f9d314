"""Reading shear-flow data in The Well's layout, ours or theirs, and refusing what cannot be used.

A file is checked in two steps: its structure when a folder is opened, its values when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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

Settings = Sequence[tuple[float, float]]
"""Pairs of a Reynolds and a Schmidt number."""


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


def read_headers(folder: Path, split: str, settings: Settings | None = None) -> list[Header]:
    """The headers of the files of a split, by name.

    Parameters
    ----------
    settings : only files of these; None for all. What a file is of, its scalars say, not its name

    Raises
    ------
    DataError : no such split, a setting that no file is of, or a file that lacks something
    """
    paths = _split_files(folder, split)
    if not paths:
        raise DataError(
            f"{folder} holds no {split} data: generate it with `ptprof data generate`, or put The Well's"
            " shear_flow there (data/train, data/valid, data/test and stats.yaml)"
        )
    if settings is not None:
        paths = _select(folder, split, paths, settings)
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


def _split_files(folder: Path, split: str) -> list[Path]:
    found = folder.joinpath("data", split).glob("*")
    return sorted(p for p in found if p.suffix in {".hdf5", ".h5"} and not p.name.startswith("."))


def _select(folder: Path, split: str, paths: list[Path], settings: Settings) -> list[Path]:
    """The files whose scalars are those of a setting; no more than the scalars of the others is read."""
    found = {path: _setting(path) for path in paths}
    missing = [wanted for wanted in settings if not any(_same(wanted, s) for s in found.values())]
    if missing:
        there = sorted({setting for setting in found.values() if setting is not None})
        raise DataError(
            f"{folder} has no {split} data of {_named(missing)}; there is {_named(there) or 'none that says'}"
        )
    return [path for path, setting in found.items() if any(_same(wanted, setting) for wanted in settings)]


def _setting(path: Path) -> tuple[float, float] | None:
    """The Reynolds and Schmidt number of a file; None where it does not tell both."""
    with open_hdf5(path) as file:
        scalars = _scalars(path, file)
    if not {"Reynolds", "Schmidt"} <= scalars.keys():
        return None
    return scalars["Reynolds"], scalars["Schmidt"]


def _same(wanted: tuple[float, float], found: tuple[float, float] | None) -> bool:
    """Whether two settings are one: files hold float32, and may have been rounded when they were named."""
    return found is not None and all(
        math.isclose(a, b, rel_tol=1e-3) for a, b in zip(wanted, found, strict=True)
    )


def _named(settings: Settings) -> str:
    return ", ".join(f"Re {reynolds:.6g} Sc {schmidt:.6g}" for reynolds, schmidt in settings)


def _scalars(path: Path, file: h5py.File) -> dict[str, float]:
    """The scalars that hold for the whole file, by name."""
    try:
        every = {name: np.unique(dataset[()]) for name, dataset in sorted(file["scalars"].items())}
        return {_scalar_name(name): float(value[0]) for name, value in every.items() if value.size == 1}
    except (KeyError, AttributeError, ValueError) as error:
        raise _not_the_wells(path, error) from None
    except OSError:
        raise DataError(f"{path} cannot be read as HDF5; is it whole?") from None


def _read_header(path: Path) -> Header:
    with open_hdf5(path) as file:
        try:
            time = np.atleast_1d(file["dimensions"]["time"][()])
            grid = tuple(file["dimensions"][axis].shape[-1] for axis in ("x", "y"))
            shapes = {name: file["t0_fields"][name].shape for name in FIELDS[:2]}
            shapes["velocity"] = file["t1_fields"]["velocity"].shape
            header = Header(
                path=path,
                name=str(file.attrs.get("dataset_name", "shear_flow")),
                trajectories=shapes["tracer"][0],
                steps=time.shape[-1],
                grid=(int(grid[0]), int(grid[1])),
                dt=_spacing(path, time),
                scalars=_scalars(path, file),
                made_by=_text(file, VERSION),
                provenance=_text(file, PROVENANCE),
            )
        except (KeyError, AttributeError, IndexError, ValueError) as error:
            raise _not_the_wells(path, error) from None
        except OSError:
            raise DataError(f"{path} cannot be read as HDF5; is it whole?") from None
    expected = (header.trajectories, header.steps, *header.grid)
    for name, shape in shapes.items():
        wanted = (*expected, 2) if name == "velocity" else expected
        if shape != wanted:
            raise DataError(f"{path}: {name} has shape {shape}, and {wanted} was expected")
    return header


def _not_the_wells(path: Path, error: Exception) -> DataError:
    missing = error.args[0] if error.args else "a group"
    return DataError(f"{path} is not in The Well's layout of shear_flow: {missing}")


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
