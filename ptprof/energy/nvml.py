"""NVML: the boards that the driver knows, and their energy counters.

``nvmlDeviceGetTotalEnergyConsumption`` counts the millijoules of a whole board since the driver was loaded
(Volta and later), whichever process they were spent for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import pynvml

from ptprof.energy import board as boards
from ptprof.energy.board import BoardState
from ptprof.errors import EnergyError
from ptprof.records import BoardFacts, Component, Source

T = TypeVar("T")

JOULES_PER_MILLIJOULE = 1e-3
#: Relative half-width of a board's gain, fixed for a board and different between equal ones: about 5 %
#: (Z. Yang, K. Adamek, W. Armour, "Part-time power measurements", SC 2024, arXiv:2312.02741).
BOARD_SYSTEMATIC = 0.05

_WORDS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver is installed (libnvidia-ml.so.1 is not there)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "the NVIDIA driver refuses it to this user",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "this GPU has no such counter",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this NVIDIA driver is too old for it",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU has fallen off the bus",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver and its library are of different versions",
}


@dataclass(frozen=True)
class Board:
    """A GPU as the driver lists it, in the order of the PCI bus; ``unusable`` says why it has no figure."""

    index: int
    uuid: str
    name: str
    unusable: str | None = None
    handle: Any = field(default=None, repr=False, compare=False)


class Nvml:
    """The driver's management library, open while the context lasts; EnergyError where it is not here."""

    def __enter__(self) -> Self:
        call("", pynvml.nvmlInit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call("", pynvml.nvmlShutdown)

    def driver(self) -> str:
        """The driver's version."""
        version: str = call("the driver's version", pynvml.nvmlSystemGetDriverVersion)
        return version

    def boards(self) -> list[Board]:
        """All boards, those included that this process may not use."""
        count: int = call("the number of GPUs", pynvml.nvmlDeviceGetCount)
        return [self._board(index) for index in range(count)]

    def counter(self, board: Board) -> EnergyCounter:
        """The energy counter of a board."""
        return EnergyCounter(board)

    def _board(self, index: int) -> Board:
        what = f"GPU {index}"
        handle = call(what, pynvml.nvmlDeviceGetHandleByIndex, index)
        board = Board(
            index,
            call(what, pynvml.nvmlDeviceGetUUID, handle),
            call(what, pynvml.nvmlDeviceGetName, handle),
            handle=handle,
        )
        return Board(index, board.uuid, board.name, _unusable(board), handle)


@dataclass(frozen=True)
class EnergyCounter:
    """A board's energy counter, a sensor that ticks."""

    board: Board

    component: Component = field(default="gpu", init=False)
    name: str = field(default="NVML energy counter", init=False)
    source: Source = field(default="measured", init=False)
    systematic: float = field(default=BOARD_SYSTEMATIC, init=False)
    ticks: bool = field(default=True, init=False)

    @property
    def device_id(self) -> str:
        return self.board.uuid

    @property
    def gain_id(self) -> str:
        return self.board.uuid

    def read(self) -> float:
        count: int = call(self.name, pynvml.nvmlDeviceGetTotalEnergyConsumption, self.board.handle)
        return count * JOULES_PER_MILLIJOULE

    def state(self) -> BoardState:
        """The board at this moment."""
        return boards.state(self.board)

    def facts(self) -> BoardFacts:
        """What the board is, and what it is set to."""
        return boards.facts(self.board)


def call(what: str, function: Callable[..., T], *arguments: Any) -> T:
    """Call NVML; what it refuses is an EnergyError in words."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        words = _WORDS.get(error.value, str(error))
        raise EnergyError(f"{what}: {words}" if what else words) from error


def _unusable(board: Board) -> str | None:
    """Why a board's energy cannot be had; None where it can."""
    try:
        current, _pending = pynvml.nvmlDeviceGetMigMode(board.handle)
    except pynvml.NVMLError:
        current = pynvml.NVML_DEVICE_MIG_DISABLE  # a board that has no such mode
    if current == pynvml.NVML_DEVICE_MIG_ENABLE:
        return (
            f"GPU {board.uuid} is split by MIG: its counter holds the energy of all its instances,"
            " and none of one alone"
        )
    try:
        EnergyCounter(board).read()
    except EnergyError as error:
        return f"GPU {board.uuid}: {error}"
    return None
