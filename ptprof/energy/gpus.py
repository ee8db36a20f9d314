"""The sensors of GPUs: NVML's counter of each board, or a plugin's of the same board or of others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ptprof.energy.counter import Counter
from ptprof.energy.nvml import Board, Nvml
from ptprof.energy.own import own_counters
from ptprof.energy.sensor import Sensor
from ptprof.energy.visible import GpuName, chosen
from ptprof.errors import EnergyError

NONE_ASKED = "no GPU was to be metered"
NONE_VISIBLE = "no GPU is visible"


@dataclass(frozen=True)
class Gpus:
    """The sensors of GPUs, the ids of all boards that are meant, and why some of them have no sensor."""

    sensors: tuple[Sensor, ...] = ()
    ids: tuple[str, ...] = ()
    missing: str | None = None


def gpu_sensors(stack: ExitStack, gpus: Sequence[GpuName] | None, own: Sequence[Counter] = ()) -> Gpus:
    """The sensors of ``gpus``, open as long as ``stack`` is.

    A board that a plugin counts is not counted by NVML too.

    Parameters
    ----------
    gpus : visible indices, UUIDs, or the ``device_id`` of a plugin's; None for all that are visible
    own : the counters of plugins

    Raises
    ------
    EnergyError : a GPU that is named and is not there
    """
    if gpus is not None and not gpus:
        return Gpus(missing=NONE_ASKED)
    theirs = {counter.device_id: counter for counter in own if counter.component == "gpu"}
    found: dict[str, Sensor] = {name: one for name, one in theirs.items() if gpus is None or name in gpus}
    others = None if gpus is None else [gpu for gpu in gpus if gpu not in theirs]
    if others is not None and not others:
        return Gpus(tuple(found.values()), tuple(found))
    try:
        nvml = stack.enter_context(Nvml())
        there = nvml.boards()
    except EnergyError as error:
        return Gpus(tuple(found.values()), tuple(found), None if found and gpus is None else str(error))
    boards = chosen(there, others)
    missing = None if boards or found else NONE_VISIBLE
    for board in boards:
        if board.uuid in theirs:
            found[board.uuid] = theirs[board.uuid]
        elif board.unusable is None:
            found[board.uuid] = nvml.counter(board)
        else:
            missing = missing or board.unusable
    ids = dict.fromkeys((*found, *(board.uuid for board in boards)))
    return Gpus(tuple(found.values()), tuple(ids), missing)


def boards_named(names: Sequence[GpuName]) -> tuple[str, ...]:
    """The UUIDs of boards, or ids of a plugin's, that are named by visible index or UUID, or by that id.

    Raises
    ------
    EnergyError : one that is not there, or that is named twice
    """
    theirs = {counter.device_id for counter in own_counters() if counter.component == "gpu"}
    others = [name for name in names if name not in theirs]
    boards: list[Board] = []
    if others:
        with Nvml() as nvml:
            boards = chosen(nvml.boards(), others)
    known = {name: board.uuid for name, board in zip(others, boards, strict=True)}
    ids = tuple(known.get(name, str(name)) for name in names)
    if len(set(ids)) < len(ids):
        raise EnergyError(f"a GPU is named twice in {list(names)}")
    return ids
