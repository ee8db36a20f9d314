"""Mean, deviation and root mean square of fields and of their change from step to step."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from ptprof.errors import DataError
from ptprof.records import Statistics
from ptprof.study import write_text
from ptprof.train.data.shear_flow import FIELDS

FILE = "stats.yaml"
CHANGE_STD = "std_delta"


class RunningStatistics:
    """Sums in float64 over the states of trajectories that are given together, one time after the other."""

    def __init__(self) -> None:
        self.state = Moments()
        self.change = Moments()
        self._previous: NDArray[np.float64] | None = None

    def add(self, states: NDArray[np.float32]) -> None:
        """Count in the next states ``(B, C, X, Y)`` of the trajectories."""
        values = states.astype(np.float64)
        self.state.add(values)
        if self._previous is not None:
            self.change.add(values - self._previous)
        self._previous = values


class Moments:
    """By channel: the sums of values and of their squares, and how many there were."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = np.zeros(len(FIELDS))
        self.squares = np.zeros(len(FIELDS))

    def add(self, values: NDArray[np.float64]) -> None:
        """Count in ``(B, C, X, Y)``."""
        self.count += values.size // len(FIELDS)
        self.sum += values.sum((0, 2, 3))
        self.squares += np.square(values).sum((0, 2, 3))

    def __add__(self, other: Moments) -> Moments:
        total = Moments()
        total.count = self.count + other.count
        total.sum = self.sum + other.sum
        total.squares = self.squares + other.squares
        return total


def write_statistics(folder: Path, parts: Iterable[RunningStatistics]) -> None:
    """Write The Well's ``stats.yaml`` of all ``parts`` together: a velocity's components in a list."""
    states, changes = Moments(), Moments()
    for part in parts:
        states, changes = states + part.state, changes + part.change
    table: dict[str, dict[str, float | list[float]]] = {}
    for suffix, moments in (("", states), ("_delta", changes)):
        mean = moments.sum / max(moments.count, 1)
        square = moments.squares / max(moments.count, 1)
        std = np.sqrt(np.maximum(square - mean**2, 0))
        for name, values in (("mean", mean), ("std", std), ("rms", np.sqrt(square))):
            tracer, pressure, x, y = (float(v) for v in values)
            table[name + suffix] = {"tracer": tracer, "pressure": pressure, "velocity": [x, y]}
    write_text(folder / FILE, yaml.safe_dump(table, sort_keys=False))


def read_statistics(folder: Path) -> Statistics:
    """Mean and deviation of the train split, from the ``stats.yaml`` in ``folder``.

    The deviation of changes is left empty where the file does not give it: The Well's first ones do not.

    Raises
    ------
    DataError : no such file, or one that lacks a field or holds a value that cannot standardise it
    """
    path = folder / FILE
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is not there: a data set needs the statistics of its train split") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise DataError(f"{path} cannot be read as YAML") from None
    mean, std = (_by_channel(table, key, path) for key in ("mean", "std"))
    if min(std) <= 0:
        raise DataError(
            f"{path} gives {FIELDS[std.index(min(std))]} a standard deviation that is not positive"
        )
    has_changes = isinstance(table, dict) and CHANGE_STD in table
    change_std = _by_channel(table, CHANGE_STD, path) if has_changes else ()
    return Statistics(fields=FIELDS, mean=mean, std=std, change_std=change_std)


def _by_channel(table: object, key: str, path: Path) -> tuple[float, ...]:
    try:
        fields = table[key]  # type: ignore[index]
        values = tuple(float(v) for v in (fields["tracer"], fields["pressure"], *fields["velocity"]))
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path} does not give {key!r} of tracer, pressure and velocity") from None
    if len(values) != len(FIELDS) or not np.isfinite(values).all():
        raise DataError(f"{path} gives {key!r} that is not one finite number for each of {', '.join(FIELDS)}")
    return values
