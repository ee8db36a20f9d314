"""The power of a board at one moment, and what NVML means by it."""

from __future__ import annotations

from collections.abc import Callable

import pynvml

from ptprof.energy.board import WATTS_PER_MILLIWATT, told
from ptprof.energy.nvml import Board, call
from ptprof.errors import EnergyError

INSTANT = "instant power"
LAST_SECOND = "mean power of the last second"
#: ``nvmlDeviceGetPowerUsage`` is the mean of a second from this compute capability on, and instant power on
#: GA100, which is 8.0, and what is older: NVML's reference, nvmlDeviceGetPowerUsage.
AVERAGES_FROM = (8, 6)

PowerReader = Callable[[], float]


def power_reader(board: Board) -> tuple[str, PowerReader]:
    """What a reading means, and a function that takes one (W): instant power where the driver gives it.

    Raises
    ------
    EnergyError : the board tells no power at all
    """
    try:
        instant_power(board)
    except EnergyError:
        power_usage(board)
        return _meaning(board), lambda: power_usage(board)
    return INSTANT, lambda: instant_power(board)


def instant_power(board: Board) -> float:
    """Field 186 of the board, of all that is on it; W."""
    field = (pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_POWER_SCOPE_GPU)
    (value,) = call(INSTANT, pynvml.nvmlDeviceGetFieldValues, board.handle, [field])
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise EnergyError(f"{INSTANT}: {pynvml.NVMLError(value.nvmlReturn)}")
    return float(value.value.uiVal) * WATTS_PER_MILLIWATT


def power_usage(board: Board) -> float:
    """``nvmlDeviceGetPowerUsage`` of the board, W."""
    milliwatts: int = call("power", pynvml.nvmlDeviceGetPowerUsage, board.handle)
    return milliwatts * WATTS_PER_MILLIWATT


def _meaning(board: Board) -> str:
    capability = told(pynvml.nvmlDeviceGetCudaComputeCapability, board.handle)
    if capability is None:
        return "power, whether instant or a mean is not known"
    return LAST_SECOND if tuple(capability) >= AVERAGES_FROM else INSTANT
