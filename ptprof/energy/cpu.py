"""The model of the CPU's energy, where no sensor measures it: busy core seconds times watts per core."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ptprof.errors import UsageError
from ptprof.records import Component, Source

#: Watts that a busy core takes. The thermal design power of server processors, divided by their cores,
#: lies between about 4 W (128 cores at 500 W, 96 at 360 W) and 9 W (28 cores at 250 W, 32 at 280 W);
#: 6 W ± 50 % spans that range. It is a convention, not a property of the machine.
CPU_WATTS_PER_CORE = 6.0
#: Relative half-width (95 %) of that figure.
CPU_WATTS_SYSTEMATIC = 0.5


def cpu_seconds() -> float:
    """CPU seconds of this process, all its threads, and of its children that have ended (all of theirs)."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


@dataclass(frozen=True)
class CpuModel:
    """CPU seconds of this process × ``watts_per_core``: CPU time in other words.

    It knows of no other process, no idle power, no frequency, no memory. Figures of one ``watts_per_core``
    share the error of that assumption and have the same ``gain_id``: ``cpu-model`` for the default.
    """

    watts_per_core: float = CPU_WATTS_PER_CORE
    seconds: Callable[[], float] = field(default=cpu_seconds, repr=False)

    component: Component = field(default="cpu", init=False)
    device_id: str = field(default="cpu", init=False)
    source: Source = field(default="modelled", init=False)
    systematic: float = field(default=CPU_WATTS_SYSTEMATIC, init=False)
    ticks: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.watts_per_core < float("inf"):
            raise UsageError(f"watts per core must be a number above 0, not {self.watts_per_core}")

    @property
    def name(self) -> str:
        return f"CPU seconds × {self.watts_per_core:g} W per core"

    @property
    def gain_id(self) -> str:
        # Two different assumptions do not err alike: their error must not cancel in a comparison.
        default = self.watts_per_core == CPU_WATTS_PER_CORE
        return "cpu-model" if default else f"cpu-model-{self.watts_per_core:g}W"

    def read(self) -> float:
        return self.seconds() * self.watts_per_core
