"""What NVML tells of a board besides its energy: temperature, clocks, what holds them down, who computes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pynvml

from ptprof.records import BoardFacts

if TYPE_CHECKING:
    from ptprof.energy.nvml import Board

T = TypeVar("T")

HZ_PER_MHZ = 1e6
WATTS_PER_MILLIWATT = 1e-3

#: What slows a board down, and is none of its user's wishes.
THROTTLING = {
    pynvml.nvmlClocksEventReasonSwPowerCap: "power cap",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "software thermal slowdown",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hardware thermal slowdown",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power brake",
}
ARCHITECTURES = {
    pynvml.NVML_DEVICE_ARCH_KEPLER: "Kepler",
    pynvml.NVML_DEVICE_ARCH_MAXWELL: "Maxwell",
    pynvml.NVML_DEVICE_ARCH_PASCAL: "Pascal",
    pynvml.NVML_DEVICE_ARCH_VOLTA: "Volta",
    pynvml.NVML_DEVICE_ARCH_TURING: "Turing",
    pynvml.NVML_DEVICE_ARCH_AMPERE: "Ampere",
    pynvml.NVML_DEVICE_ARCH_ADA: "Ada",
    pynvml.NVML_DEVICE_ARCH_HOPPER: "Hopper",
    pynvml.NVML_DEVICE_ARCH_BLACKWELL: "Blackwell",
}


@dataclass(frozen=True)
class BoardState:
    """A board at one moment; what its driver does not tell is None.

    Attributes
    ----------
    throttle_reasons : in words what holds its clocks down; empty where nothing does
    processes : the numbers of the processes that compute on it, as the driver counts them
    """

    temperature_c: float | None = None
    sm_clock_hz: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    processes: tuple[int, ...] | None = None

    def foreign(self, own: Collection[int], present: bool) -> int | None:
        """How many processes compute on the board that are not among ``own``; None where it cannot be told.

        ``present`` says that one of ``own`` does: where the driver then lists none of them, its numbers are
        those of another process namespace, as in most containers.
        """
        if self.processes is None:
            return None
        listed = set(self.processes)
        if present and not listed & set(own):
            return None
        return len(listed - set(own))


def state(board: Board) -> BoardState:
    """The board at this moment."""
    reasons = told(pynvml.nvmlDeviceGetCurrentClocksEventReasons, board.handle)
    processes = told(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, board.handle)
    return BoardState(
        temperature_c=_temperature(board),
        sm_clock_hz=_hertz(told(pynvml.nvmlDeviceGetClockInfo, board.handle, pynvml.NVML_CLOCK_SM)),
        throttle_reasons=None if reasons is None else _in_words(reasons),
        processes=None if processes is None else tuple(sorted(process.pid for process in processes)),
    )


def facts(board: Board) -> BoardFacts:
    """What the board is, and what it is set to."""
    ecc = told(pynvml.nvmlDeviceGetEccMode, board.handle)
    persistence = told(pynvml.nvmlDeviceGetPersistenceMode, board.handle)
    architecture = told(pynvml.nvmlDeviceGetArchitecture, board.handle)
    return BoardFacts(
        uuid=board.uuid,
        name=board.name,
        power_limit_w=_watts(told(pynvml.nvmlDeviceGetEnforcedPowerLimit, board.handle)),
        default_power_limit_w=_watts(told(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, board.handle)),
        max_sm_clock_hz=_hertz(told(pynvml.nvmlDeviceGetMaxClockInfo, board.handle, pynvml.NVML_CLOCK_SM)),
        architecture=None if architecture is None else ARCHITECTURES.get(architecture, str(architecture)),
        ecc=None if ecc is None else ecc[0] == pynvml.NVML_FEATURE_ENABLED,
        persistence=None if persistence is None else persistence == pynvml.NVML_FEATURE_ENABLED,
    )


def told(function: Callable[..., T], *arguments: Any) -> T | None:
    """What NVML answers; None where it does not."""
    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None


def _temperature(board: Board) -> float | None:
    """The temperature of the die, °C, by the present call or, on older drivers, the one before it."""
    for call in (pynvml.nvmlDeviceGetTemperatureV, pynvml.nvmlDeviceGetTemperature):
        found: int | None = told(call, board.handle, pynvml.NVML_TEMPERATURE_GPU)
        if found is not None:
            return float(found)
    return None


def _in_words(reasons: int) -> tuple[str, ...]:
    return tuple(words for bit, words in THROTTLING.items() if reasons & bit)


def _hertz(megahertz: int | None) -> float | None:
    return None if megahertz is None else megahertz * HZ_PER_MHZ


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts * WATTS_PER_MILLIWATT
