"""The sensors of processors and memory: RAPL where it can be read, the model of the CPU where not."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from ptprof.energy.clock import Clock
from ptprof.energy.cpu import CPU_WATTS_PER_CORE, CpuModel
from ptprof.energy.rapl import Rapl
from ptprof.energy.sensor import Sensor
from ptprof.records import Component


def host_sensors(
    stack: ExitStack,
    *,
    watts_per_core: float = CPU_WATTS_PER_CORE,
    rapl_root: Path | None = None,
    clock: Clock | None = None,
) -> tuple[list[Sensor], dict[Component, str]]:
    """The sensors of ``cpu`` and ``dram``, open as long as ``stack`` is, and why RAPL does not give them.

    The CPU always has one: where RAPL gives none, its model.
    """
    model = CpuModel(watts_per_core)
    rapl = stack.enter_context(Rapl(rapl_root, clock))
    sensors: list[Sensor] = [*rapl.counters]
    return ([model, *sensors] if "cpu" in rapl.missing else sensors), rapl.missing
