"""Batches of windows on the device that trains, read ahead of it.

Whoever trains draws the order: here nothing is random, and batches are the same bit for bit whatever the
number of workers.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ptprof.environment import cores
from ptprof.train.data.preload import Preload
from ptprof.train.data.windows import Windows

WORKERS = 4
"""Threads that read, where there are as many cores and nothing else is said."""

Batch = tuple[Tensor, Tensor]
Task = Callable[[], Batch]


@dataclass(frozen=True)
class Reading:
    """How windows come to the device that trains: no number depends on it, only the time.

    Parameters
    ----------
    preload : as for ``Windows``
    workers : as for `batches`; None for four, or as many as there are cores
    """

    preload: Preload = None
    workers: int | None = None

    @property
    def threads(self) -> int:
        """The workers to read with."""
        return min(WORKERS, cores()) if self.workers is None else self.workers


AUTO = Reading()


def batches(
    windows: Dataset[Batch], indices: Iterable[Tensor], *, device: torch.device | str, workers: int = 0
) -> Iterator[Batch]:
    """Give batch after batch, inputs ``(B, h·C, X, Y)`` and targets ``(B, C, X, Y)``, on ``device``.

    Workers are threads, since reading, standardising and copying leave Python's lock to others: nothing
    is forked or pickled, no shared memory is needed, of which containers have little, and an error comes as
    it was raised. Each is at most one batch ahead of the one that is given. For a GPU, batches are read
    into page-locked memory, and their copy is queued without waiting for it.

    Parameters
    ----------
    windows : the split; any other map-style data set of (input, target) is read item by item
    indices : of the windows of each batch, ``(B,)``
    workers : threads that read; with 0, and where the windows are on the device, the caller's reads

    Raises
    ------
    DataError : data that cannot be used, found as it is read
    """
    place = torch.device(device)
    pinned = place.type == "cuda"
    held = windows.preloaded if isinstance(windows, Windows) else None
    here = workers == 0 or (held is not None and held.type == place.type)
    tasks = _tasks(windows, indices, pinned)
    for inputs, targets in (task() for task in tasks) if here else _ahead(tasks, workers):
        yield inputs.to(place, non_blocking=pinned), targets.to(place, non_blocking=pinned)


def _tasks(windows: Dataset[Batch], indices: Iterable[Tensor], pinned: bool) -> Iterator[Task]:
    """What gives each batch; the caller's thread makes room for it, whose allocator keeps freed memory."""
    for batch in indices:
        if isinstance(windows, Windows):
            yield partial(windows.read, batch.tolist(), *windows.room(len(batch), pinned=pinned))
        else:
            yield partial(_collated, windows, batch)


def _collated(windows: Dataset[Batch], batch: Tensor) -> Batch:
    inputs, targets = default_collate([windows[index] for index in batch.tolist()])
    return inputs, targets


def _ahead(tasks: Iterator[Task], workers: int) -> Iterator[Batch]:
    """What the tasks give, in order, done by ``workers`` threads."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    try:
        waiting = deque(pool.submit(task) for task in itertools.islice(tasks, workers + 1))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(task) for task in itertools.islice(tasks, 1))
    finally:
        pool.shutdown(cancel_futures=True)
