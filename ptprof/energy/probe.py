"""What sensors are here, and why the others are not."""

from __future__ import annotations

from ptprof.energy.clock import Clock, MonotonicClock
from ptprof.energy.cpu import CPU_WATTS_PER_CORE, CpuModel
from ptprof.energy.gauge import tick_period
from ptprof.energy.meter import NO_DRAM
from ptprof.energy.nvml import Board, EnergyCounter, Nvml
from ptprof.errors import EnergyError
from ptprof.records import Component, Source, Value


class Probe(Value):
    """A sensor that is here, or one that is not: ``source`` None, and ``detail`` says why."""

    component: Component
    device_id: str
    device: str
    sensor: str
    source: Source | None
    tick_s: float | None = None
    detail: str


def probe(*, watts_per_core: float = CPU_WATTS_PER_CORE, clock: Clock | None = None) -> list[Probe]:
    """Look for every kind of sensor: each GPU of this machine (half a second each), then CPU and memory."""
    cpu = CpuModel(watts_per_core)
    modelled = f"modelled: CPU seconds of the process × {watts_per_core:g} W per core, ± {cpu.systematic:.0%}"
    return [
        *_gpus(clock or MonotonicClock()),
        Probe(
            component="cpu",
            device_id="cpu",
            device="CPU",
            sensor=cpu.name,
            source="modelled",
            detail=modelled,
        ),
        Probe(component="dram", device_id="", device="memory", sensor="", source=None, detail=NO_DRAM),
    ]


def driver() -> str | None:
    """The version of the NVIDIA driver; None where there is none."""
    try:
        with Nvml() as nvml:
            return nvml.driver()
    except EnergyError:
        return None


def _gpus(clock: Clock) -> list[Probe]:
    try:
        with Nvml() as nvml:
            boards = nvml.boards()
            found = [_board(board, nvml.driver(), clock) for board in boards]
    except EnergyError as error:
        return [_no_gpu(str(error))]
    return found or [_no_gpu("the NVIDIA driver lists no GPU")]


def _no_gpu(why: str, uuid: str = "", name: str = "GPU") -> Probe:
    return Probe(component="gpu", device_id=uuid, device=name, sensor="", source=None, detail=why)


def _board(board: Board, driver_version: str, clock: Clock) -> Probe:
    counter = EnergyCounter(board)
    try:
        if board.unusable is not None:
            raise EnergyError(board.unusable)
        tick_s = tick_period(counter, clock)
    except EnergyError as error:
        return _no_gpu(str(error), board.uuid, board.name)
    return Probe(
        component="gpu",
        device_id=board.uuid,
        device=board.name,
        sensor=counter.name,
        source="measured",
        tick_s=tick_s,
        detail=f"measured, the whole board, ± {counter.systematic:.0%}; driver {driver_version}",
    )
