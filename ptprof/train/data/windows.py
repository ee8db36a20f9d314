"""Windows of standardised states for training, and whole trajectories for rollouts."""

from __future__ import annotations

import bisect
import itertools
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ptprof.errors import DataError, UsageError
from ptprof.records import Statistics
from ptprof.train.data.reading import Header, open_hdf5, read_headers, read_states
from ptprof.train.data.shear_flow import FIELDS
from ptprof.train.data.statistics import read_statistics
from ptprof.train.recipe import check_grid

PRELOADED_BYTES = 2 << 30
"""A split up to this size is held in memory unless said otherwise."""


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """All windows of ``history`` states and the state after them, of a split, standardised.

    Item i is ``(input (h·C, X, Y), target (C, X, Y))``, float32, the input's channel being step·C + field,
    oldest step first. Windows follow each other in time, trajectory after trajectory, file after file.

    Parameters
    ----------
    folder : a data set in The Well's layout
    split : train, valid or test
    history : h, the states of a window
    statistics : to standardise by; None for the folder's own
    preload : hold the split in memory; None where it has at most 2 GiB

    Raises
    ------
    DataError : data that is missing, damaged, too short, not finite, or on a grid that the models cannot take
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        history: int,
        *,
        statistics: Statistics | None = None,
        preload: bool | None = None,
    ) -> None:
        folder = Path(folder)
        self.history = history
        self.fields = FIELDS
        self.statistics = statistics or read_statistics(folder)
        self._headers = _headers(folder, split, states=history + 1)
        self.grid = self._headers[0].grid
        windows = ([h.steps - history] * h.trajectories for h in self._headers)
        self._ends = list(itertools.accumulate(itertools.chain.from_iterable(windows)))
        self._rows = [
            (number, row) for number, h in enumerate(self._headers) for row in range(h.trajectories)
        ]
        self._mean, self._std = (
            np.asarray(v, dtype=np.float32).reshape(-1, 1, 1)
            for v in (self.statistics.mean, self.statistics.std)
        )
        size = 4 * len(FIELDS) * sum(h.trajectories * h.steps * h.grid[0] * h.grid[1] for h in self._headers)
        self._memory: list[Tensor] | None = None
        if preload if preload is not None else size <= PRELOADED_BYTES:
            self._memory = self._load()
        self._files: dict[tuple[int, int], h5py.File] = {}

    @property
    def preloaded(self) -> bool:
        """Whether the split is held in memory, so that worker processes would only slow it down."""
        return self._memory is not None

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        trajectory = bisect.bisect_right(self._ends, index)
        start = index - (self._ends[trajectory - 1] if trajectory else 0)
        states = self._states(trajectory, start, start + self.history + 1)
        return states[:-1].flatten(0, 1), states[-1]

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay with the process that opened them."""
        return {**self.__dict__, "_files": {}}

    def _states(self, trajectory: int, start: int, stop: int) -> Tensor:
        if self._memory is not None:
            return self._memory[trajectory][start:stop]
        number, row = self._rows[trajectory]
        path = self._headers[number].path
        return self._standardised(read_states(self._file(number), path, row, start, stop))

    def _standardised(self, states: np.ndarray[Any, np.dtype[np.float32]]) -> Tensor:
        return torch.from_numpy((states - self._mean) / self._std)

    def _load(self) -> list[Tensor]:
        loaded = []
        for header in self._headers:
            with open_hdf5(header.path) as file:
                for row in range(header.trajectories):
                    loaded.append(self._standardised(read_states(file, header.path, row, 0, header.steps)))
        return loaded

    def _file(self, number: int) -> h5py.File:
        """The open file; opened again in a worker, since HDF5 handles do not survive a fork."""
        key = (os.getpid(), number)
        if key not in self._files:
            self._files[key] = h5py.File(self._headers[number].path, "r")
        return self._files[key]


def trajectories(folder: Path, split: str, *, limit: int | None = None, steps: int | None = None) -> Tensor:
    """Whole trajectories ``(N, T, C, X, Y)``, float32, physical units, from their first state on.

    Parameters
    ----------
    folder, split : as for ``Windows``
    limit : only the first so many trajectories, all unless said
    steps : only the first so many states, all unless said; the shortest trajectory's where they differ

    Raises
    ------
    DataError : as for ``Windows``
    UsageError : a limit below 1
    """
    for name, value in (("limit", limit), ("steps", steps)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, and is {value}")
    headers = _headers(Path(folder), split, states=1)
    length = min(h.steps for h in headers)
    length = min(length, steps) if steps is not None else length
    loaded: list[Tensor] = []
    for header in headers:
        wanted = header.trajectories if limit is None else min(header.trajectories, limit - len(loaded))
        if wanted > 0:
            with open_hdf5(header.path) as file:
                for row in range(wanted):
                    loaded.append(torch.from_numpy(read_states(file, header.path, row, 0, length)))
    return torch.stack(loaded)


def _headers(folder: Path, split: str, states: int) -> list[Header]:
    headers = read_headers(folder, split)
    for header in headers:
        if header.grid != headers[0].grid:
            raise DataError(f"{header.path} has another grid than {headers[0].path}")
        if header.steps < states:
            raise DataError(f"{header.path} holds {header.steps} times, and at least {states} are needed")
        if header.trajectories < 1:
            raise DataError(f"{header.path} holds no trajectory")
    try:
        check_grid(headers[0].grid)
    except UsageError as error:
        raise DataError(f"{folder}: {error}") from None
    return headers
