"""What sensors are here, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ptprof.energy import carbontracker
from ptprof.energy.clock import Clock, MonotonicClock
from ptprof.energy.counter import Counter
from ptprof.energy.cpu import CPU_WATTS_PER_CORE
from ptprof.energy.gauge import tick_period
from ptprof.energy.host import host_sensors
from ptprof.energy.nvml import Board, EnergyCounter, Nvml
from ptprof.energy.own import own_counters
from ptprof.energy.power import INSTANT, power_reader
from ptprof.energy.sensor import Sensor
from ptprof.errors import EnergyError
from ptprof.records import Component, Source, Value


class Probe(Value):
    """A sensor that is here, or one that is not: ``source`` None, and ``detail`` says why.

    ``component`` is None for plugins whose sensors cannot be asked at all.
    """

    component: Component | None
    device_id: str
    device: str
    sensor: str
    source: Source | None
    tick_s: float | None = None
    detail: str


class SecondOpinion(Value):
    """What a board's counter can be checked against: whether it is ``here``, and how, or why not."""

    name: str
    device: str
    here: bool
    detail: str


def probe(
    *,
    watts_per_core: float = CPU_WATTS_PER_CORE,
    rapl_root: Path | None = None,
    clock: Clock | None = None,
) -> list[Probe]:
    """Look for every kind of sensor: each GPU of this machine (half a second each), then CPU and memory."""
    clock = clock or MonotonicClock()
    failed: list[Probe] = []
    own: tuple[Counter, ...] = ()
    try:
        own = own_counters()
    except EnergyError as error:
        why = str(error)
        failed = [Probe(component=None, device_id="", device="plugins", sensor="", source=None, detail=why)]
    return [*_gpus(clock, own), *_host(watts_per_core, rapl_root, clock, own), *failed]


def second_opinions() -> list[SecondOpinion]:
    """What can be asked beside the energy counters: each board's instant power, and Carbontracker."""
    try:
        with Nvml() as nvml:
            found = [_sampled(board) for board in nvml.boards()]
            no_gpu = None if found else NO_GPU
    except EnergyError as error:
        found, no_gpu = [], str(error)
    if no_gpu is not None:
        found = [SecondOpinion(name=f"sampled {INSTANT}", device="GPU", here=False, detail=no_gpu)]
    lacking = carbontracker.unavailable() or no_gpu
    tracker = SecondOpinion(
        name=f"Carbontracker {carbontracker.VERSION}",
        device="GPU",
        here=lacking is None,
        detail=lacking or "in a process of its own, its PUE taken out, no network",
    )
    return [*found, tracker]


def driver() -> str | None:
    """The version of the NVIDIA driver; None where there is none."""
    try:
        with Nvml() as nvml:
            return nvml.driver()
    except EnergyError:
        return None


NO_GPU = "the NVIDIA driver lists no GPU"


def _gpus(clock: Clock, own: Sequence[Counter]) -> list[Probe]:
    theirs = {counter.device_id: _read(counter, clock) for counter in own if counter.component == "gpu"}
    why, found = NO_GPU, []
    try:
        with Nvml() as nvml:
            boards = [board for board in nvml.boards() if board.uuid not in theirs]
            found = [_board(board, nvml.driver(), clock) for board in boards]
    except EnergyError as error:
        why = str(error)
    return [*found, *theirs.values()] or [_no_gpu(why)]


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
        detail=f"the whole board, whoever uses it, ± {counter.systematic:.0%}; driver {driver_version}",
    )


def _sampled(board: Board) -> SecondOpinion:
    """Whether the board's power can be sampled, and what a sample means."""
    name = f"sampled {INSTANT}"
    try:
        reading, _ = power_reader(board)
    except EnergyError as error:
        return SecondOpinion(name=name, device=board.name, here=False, detail=str(error))
    detail = reading if reading == INSTANT else f"the driver gives no {INSTANT}, but {reading}"
    return SecondOpinion(name=name, device=board.name, here=reading == INSTANT, detail=detail)


def _host(watts_per_core: float, rapl_root: Path | None, clock: Clock, own: Sequence[Counter]) -> list[Probe]:
    with ExitStack() as stack:
        sensors, missing = host_sensors(stack, watts_per_core=watts_per_core, rapl_root=rapl_root, own=own)
        found = [
            _read(sensor, clock) if isinstance(sensor, Counter) else _counted(sensor, missing)
            for sensor in sensors
        ]
    if "dram" in missing:
        why = missing["dram"]
        found.append(
            Probe(component="dram", device_id="", device="memory", sensor="", source=None, detail=why)
        )
    return found


def _read(counter: Counter, clock: Clock) -> Probe:
    """A plugin's counter, once it has been read."""
    what = {"component": counter.component, "device_id": counter.device_id, "device": counter.device_id}
    try:
        counter.read()
        tick_s = tick_period(counter, clock) if counter.ticks else None
    except EnergyError as error:
        return Probe(**what, sensor=counter.name, source=None, detail=str(error))
    detail = f"by {counter.plugin.name if counter.plugin else counter.name}, ± {counter.systematic:.0%}"
    return Probe(**what, sensor=counter.name, source=counter.source, tick_s=tick_s, detail=detail)


def _counted(sensor: Sensor, missing: dict[Component, str]) -> Probe:
    """A sensor of the processor or the memory, which is modelled where RAPL is missing."""
    how = "this process alone" if sensor.source == "modelled" else "the whole socket, whoever uses it"
    because = f"; {missing['cpu']}" if sensor.source == "modelled" and "cpu" in missing else ""
    return Probe(
        component=sensor.component,
        device_id=sensor.device_id,
        device="CPU" if sensor.source == "modelled" else sensor.device_id,
        sensor=sensor.name,
        source=sensor.source,
        detail=f"{how}, ± {sensor.systematic:.0%}{because}",
    )
