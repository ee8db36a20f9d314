"""Windows of standardised states for training, and whole trajectories for rollouts."""

from __future__ import annotations

import bisect
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ptprof.errors import DataError, UsageError
from ptprof.records import Statistics
from ptprof.train.data.preload import Preload, hold
from ptprof.train.data.reading import Header, Settings, read_headers
from ptprof.train.data.shear_flow import FIELDS
from ptprof.train.data.states import AS_STORED, Scale, StateFile
from ptprof.train.data.statistics import read_statistics
from ptprof.train.recipe import check_grid

PRELOADED_BYTES = 2 << 30
"""A split up to this size is held on the device unless said otherwise."""


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """All windows of ``history`` states and the state after them, of a split, standardised.

    Item i is ``(input (h·C, X, Y), target (C, X, Y))``, float32, the input's channel being step·C + field,
    oldest step first. Windows follow each other in time, trajectory after trajectory, file after file. The
    values are the same bit for bit, however they are held.

    Parameters
    ----------
    folder : a data set in The Well's layout
    split : train, valid or test
    history : h, the states of a window
    settings : the pairs of Reynolds and Schmidt numbers whose files are used; None for all files
    statistics : to standardise by; None for the folder's own, whatever the settings
    preload : hold the split in ``"memory"``, on the ``"device"``, or not at all (False); None holds it on the
        device where it has at most 2 GiB
    device : where ``"device"`` is

    Raises
    ------
    DataError : data that is missing, damaged, too short, not finite, or on a grid that the models cannot take
    UsageError : data to be held that is more than there is room for
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        history: int,
        *,
        settings: Settings | None = None,
        statistics: Statistics | None = None,
        preload: Preload = None,
        device: str | torch.device = "cpu",
    ) -> None:
        folder = Path(folder)
        self.history = history
        self.fields = FIELDS
        self.statistics = statistics or read_statistics(folder)
        headers = _headers(folder, split, history + 1, settings)
        self.grid = headers[0].grid
        self._files = [StateFile.at(header.path) for header in headers]
        self._scale = Scale.of(self.statistics.mean, self.statistics.std)
        self._rows = [(number, row) for number, h in enumerate(headers) for row in range(h.trajectories)]
        self._steps = [headers[number].steps for number, _ in self._rows]
        self._ends = list(itertools.accumulate(steps - history for steps in self._steps))
        self._firsts = [0, *itertools.accumulate(self._steps)]
        if preload is None and self.size_bytes <= PRELOADED_BYTES:
            preload = "device"
        self._held: Tensor | None = None
        if preload:
            place = torch.device(device if preload == "device" else "cpu")
            trajectories = [
                (self._files[number], row, steps)
                for (number, row), steps in zip(self._rows, self._steps, strict=True)
            ]
            self._held = hold(trajectories, (len(FIELDS), *self.grid), self._scale, place)

    @property
    def size_bytes(self) -> int:
        """What the split takes in memory."""
        return 4 * len(FIELDS) * self.grid[0] * self.grid[1] * self._firsts[-1]

    @property
    def preloaded(self) -> torch.device | None:
        """Where the split is held; None where windows are read from its files."""
        return None if self._held is None else self._held.device

    @property
    def trajectory_count(self) -> int:
        """How many trajectories the split has."""
        return len(self._rows)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.read([index], *self.room(1))
        return inputs[0], targets[0]

    def room(self, count: int, *, pinned: bool = False) -> tuple[Tensor, Tensor]:
        """Room for ``count`` windows: inputs ``(B, h·C, X, Y)`` and targets ``(B, C, X, Y)``.

        It is on the device that holds the split, else on the CPU, in page-locked memory if ``pinned``.
        """
        place = self.preloaded or torch.device("cpu")
        channels = len(FIELDS)
        # Not as inference tensors, even where they are for that: a worker could not write into them.
        with torch.inference_mode(mode=False):
            inputs, targets = (
                torch.empty((count, c, *self.grid), device=place, pin_memory=pinned and place.type == "cpu")
                for c in (self.history * channels, channels)
            )
        return inputs, targets

    def read(self, indices: Sequence[int], inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Read the windows at ``indices`` into what `room` gave; returns that. Threads may do it at once.

        Raises
        ------
        DataError : as for the class, of the values that are read
        """
        starts = [self._start(index) for index in indices]
        states = inputs.view(len(starts), self.history, len(FIELDS), *self.grid)
        if self._held is None:
            for (trajectory, start), window, target in zip(starts, states, targets, strict=True):
                number, row = self._rows[trajectory]
                self._files[number].read(row, start, [*window.numpy(), target.numpy()], self._scale)
        else:
            firsts = torch.tensor([self._firsts[t] + start for t, start in starts], device=inputs.device)
            steps = firsts[:, None] + torch.arange(self.history, device=inputs.device)
            torch.index_select(self._held, 0, steps.flatten(), out=states.flatten(0, 1))
            torch.index_select(self._held, 0, firsts + self.history, out=targets)
        return inputs, targets

    def trajectories(self, *, batch: int, steps: int | None = None) -> Iterator[Tensor]:
        """Whole trajectories, a few at a time, ``(B, T, C, X, Y)``, physical units, from the first state on.

        Parameters
        ----------
        batch : trajectories at a time
        steps : T, or as many as the shortest trajectory of the split has; None for as many as the shortest
            of those that are given together has, each of them whole where ``batch`` is 1

        Raises
        ------
        DataError : as for the class, of the values that are read
        """
        for begin in range(0, len(self._rows), batch):
            rows = self._rows[begin : begin + batch]
            length = min(self._steps[begin : begin + batch]) if steps is None else min(steps, *self._steps)
            states = torch.empty((len(rows), length, len(FIELDS), *self.grid))
            for (number, row), trajectory in zip(rows, states, strict=True):
                self._files[number].read(row, 0, list(trajectory.numpy()), AS_STORED)
            yield states

    def _start(self, index: int) -> tuple[int, int]:
        """The trajectory of a window, and the step that it starts from."""
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        trajectory = bisect.bisect_right(self._ends, place)
        return trajectory, place - (self._ends[trajectory - 1] if trajectory else 0)


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
    wanted = sys.maxsize if steps is None else steps
    each = Windows(folder, split, 0, preload=False).trajectories(batch=1, steps=wanted)
    return torch.cat(list(itertools.islice(each, limit)))


def _headers(folder: Path, split: str, states: int, settings: Settings | None = None) -> list[Header]:
    headers = read_headers(folder, split, settings)
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
