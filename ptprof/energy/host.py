"""The sensors of processors and memory: a plugin's, or RAPL where it can be read, or the model of the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ptprof.energy.clock import Clock
from ptprof.energy.counter import Counter
from ptprof.energy.cpu import CPU_WATTS_PER_CORE, CpuModel
from ptprof.energy.own import own_counters
from ptprof.energy.rapl import Rapl
from ptprof.energy.sensor import Sensor
from ptprof.records import Component


def host_sensors(
    stack: ExitStack,
    *,
    watts_per_core: float = CPU_WATTS_PER_CORE,
    rapl_root: Path | None = None,
    clock: Clock | None = None,
    own: Sequence[Counter] | None = None,
) -> tuple[list[Sensor], dict[Component, str]]:
    """The sensors of ``cpu`` and ``dram``, open as long as ``stack`` is, and why one of them has none.

    The CPU always has one: where nothing measures it, its model. What a plugin counts is counted by nothing
    else: two counts of one socket must not be added.

    Parameters
    ----------
    own : the counters of plugins; None asks them

    Raises
    ------
    EnergyError, UsageError : a plugin that fails; see `ptprof.energy.own.own_counters`
    """
    model = CpuModel(watts_per_core)
    found = own_counters() if own is None else own
    sensors: list[Sensor] = [counter for counter in found if counter.component != "gpu"]
    counted = {sensor.component for sensor in sensors}
    rapl = stack.enter_context(Rapl(rapl_root, clock))
    sensors += [counter for counter in rapl.counters if counter.component not in counted]
    missing = {component: why for component, why in rapl.missing.items() if component not in counted}
    return ([model, *sensors] if "cpu" in missing else sensors), missing
