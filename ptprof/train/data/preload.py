"""Holding a whole split in memory, or on a GPU, so that an epoch reads no file."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch
from torch import Tensor

from ptprof.environment import cores
from ptprof.errors import UsageError
from ptprof.train.data.states import Scale, StateFile

Preload = Literal["memory", "device", False] | None

STATES_AT_ONCE = 16
"""States that a thread reads before it passes them on to a GPU."""


def hold(
    trajectories: Sequence[tuple[StateFile, int, int]],
    shape: tuple[int, int, int],
    scale: Scale,
    device: torch.device,
) -> Tensor:
    """All states of ``trajectories``, one after the other, standardised: ``(S, C, X, Y)`` on ``device``.

    Parameters
    ----------
    trajectories : of each its file, its row in the file, and how many states it has
    shape : (C, X, Y)

    Raises
    ------
    UsageError : more than there is room for
    DataError : values that cannot be read or are not finite
    """
    steps = [count for _, _, count in trajectories]
    held = _room((sum(steps), *shape), device)
    firsts = itertools.accumulate(steps[:-1], initial=0)

    def read(part: tuple[StateFile, int, int, int, int]) -> None:
        file, row, first, start, stop = part
        place = held[first + start : first + stop]
        states = place if device.type == "cpu" else torch.empty(place.shape)
        file.read(row, start, list(states.numpy()), scale)
        if states is not place:
            place.copy_(states)

    parts = [
        (file, row, first, start, min(start + STATES_AT_ONCE, count))
        for (file, row, count), first in zip(trajectories, firsts, strict=True)
        for start in range(0, count, STATES_AT_ONCE)
    ]
    with ThreadPoolExecutor(cores()) as pool:
        try:
            for _ in pool.map(read, parts):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return held


def _room(shape: tuple[int, ...], device: torch.device) -> Tensor:
    size = 4 * torch.Size(shape).numel()
    there = _memory_bytes()
    try:
        if device.type != "cpu" or size < there:
            return torch.empty(shape, device=device)
    except torch.OutOfMemoryError:
        there, _ = torch.cuda.mem_get_info(device)
    place = "this machine" if device.type == "cpu" else str(device)
    raise UsageError(
        f"the data to preload takes {size / 1e9:.3g} GB of memory, and {place} has {there / 1e9:.3g} GB:"
        " preload less, or nothing"
    )


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
