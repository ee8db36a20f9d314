"""Which boards this process may use, in the order in which torch counts them.

CUDA and NVML number boards differently: CUDA takes CUDA_VISIBLE_DEVICES and, unless CUDA_DEVICE_ORDER says
PCI_BUS_ID, begins with the fastest; NVML follows the PCI bus and knows all of them. A board is therefore
known by its UUID, and torch is asked for it where it has started CUDA already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ptprof.energy.nvml import Board, Nvml
from ptprof.errors import EnergyError

GpuName = int | str
PREFIX = "GPU-"
MIG = "MIG-"


def chosen(
    boards: Sequence[Board],
    gpus: Sequence[GpuName] | None,
    environ: Mapping[str, str] = os.environ,
    torch_uuids: Sequence[str] | None = None,
) -> list[Board]:
    """The boards that ``gpus`` names by visible index or UUID; all visible ones where it is None.

    Parameters
    ----------
    torch_uuids : the UUIDs of torch's devices in its order; None asks torch, if it has started CUDA

    Raises
    ------
    EnergyError : a GPU that is not there, one that is named twice, or a number that CUDA alone can resolve
    """
    uuids = torch_uuids if torch_uuids is not None else uuids_of_torch()
    seen = _by_uuid(boards, uuids) if uuids else visible(boards, environ)
    if gpus is None:
        return seen
    if not uuids and "CUDA_VISIBLE_DEVICES" not in environ and any(isinstance(gpu, int) for gpu in gpus):
        _check_numbering(boards, environ)
    named = [_named(gpu, seen, boards) for gpu in gpus]
    if len({board.uuid for board in named}) < len(named):
        raise EnergyError(f"a GPU is named twice in {list(gpus)}")
    return named


def visible(boards: Sequence[Board], environ: Mapping[str, str] = os.environ) -> list[Board]:
    """The boards that CUDA_VISIBLE_DEVICES leaves, in its order; as in CUDA an unknown entry ends the list.

    A board that stands there twice is one. A MIG instance is a board that is not usable: it has no energy
    counter of its own.

    Raises
    ------
    EnergyError : it numbers boards of several kinds, which CUDA alone can resolve
    """
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return list(boards)
    found: list[Board] = []
    for entry in (part.strip() for part in setting.split(",")):
        if entry.startswith(MIG):
            found.append(_instance(entry))
            continue
        matching = [board for board in boards if _matches(entry, board)]
        if len(matching) != 1:
            break
        if not entry.startswith(PREFIX):
            _check_numbering(boards, environ)
        found += [board for board in matching if board not in found]
    return found


def board_uuid(index: int) -> str | None:
    """The UUID of the GPU that torch counts as ``index``; None where NVML cannot tell."""
    try:
        with Nvml() as nvml:
            return chosen(nvml.boards(), [index])[0].uuid
    except EnergyError:
        return None


def uuids_of_torch() -> list[str]:
    """The UUIDs of torch's CUDA devices, in its order; none where torch has not started CUDA."""
    cuda = _started_cuda()
    if cuda is None:
        return []
    return [_prefixed(str(cuda.get_device_properties(i).uuid)) for i in range(cuda.device_count())]


def synchronize(uuids: Collection[str]) -> None:
    """Wait for the work that torch has given to these boards; one that torch does not use is left alone."""
    cuda = _started_cuda()
    if cuda is None:
        return
    for index, uuid in enumerate(uuids_of_torch()):
        if uuid in uuids and cuda.memory_reserved(index):
            cuda.synchronize(index)


def _started_cuda() -> Any:
    """``torch.cuda`` where it runs already: starting it here would take memory and power."""
    torch = sys.modules.get("torch")
    started = torch is not None and torch.cuda.is_initialized()
    return torch.cuda if torch is not None and started else None


def _matches(entry: str, board: Board) -> bool:
    """Whether an entry of CUDA_VISIBLE_DEVICES, a number or the beginning of a UUID, means the board."""
    if entry.startswith(PREFIX):
        return board.uuid.startswith(entry)
    return entry == str(board.index)


def _check_numbering(boards: Sequence[Board], environ: Mapping[str, str]) -> None:
    if len({board.name for board in boards}) > 1 and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise EnergyError(
            "the GPUs here are of several kinds, which CUDA numbers by speed:"
            " set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name them by UUID"
        )


def _by_uuid(boards: Sequence[Board], uuids: Iterable[str]) -> list[Board]:
    known = {board.uuid: board for board in boards}
    return [known.get(uuid) or _instance(uuid) for uuid in uuids]


def _instance(uuid: str) -> Board:
    why = f"{uuid} is not a board of its own but a MIG instance: the energy of one instance cannot be had"
    return Board(-1, uuid, "MIG instance", why)


def _named(gpu: GpuName, seen: Sequence[Board], boards: Sequence[Board]) -> Board:
    if isinstance(gpu, int):
        if not 0 <= gpu < len(seen):
            have = f"{len(seen)} visible" if seen else "none visible"
            raise EnergyError(f"there is no GPU {gpu}: {have}")
        return seen[gpu]
    if gpu.startswith(MIG):
        return _instance(gpu)
    for board in boards:
        if board.uuid == _prefixed(gpu):
            return board
    raise EnergyError(f"there is no GPU {gpu!r}; here are: {', '.join(b.uuid for b in boards) or 'none'}")


def _prefixed(uuid: str) -> str:
    return uuid if uuid.startswith(PREFIX) else PREFIX + uuid
