"""A sensor of one's own: a count of joules, and how well it is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ptprof.environment import host_id
from ptprof.errors import EnergyError
from ptprof.plugins.importing import FAULTS, in_words
from ptprof.records import COMPONENTS, Component, PluginSource, Source


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A cumulative count of the joules that one part of the machine took, as `count` reads it.

    Attributes
    ----------
    component : ``cpu``, ``dram`` or ``gpu``
    device_id : which socket or board, such as a GPU's UUID; each is counted once
    name : what it is, as figures show it
    count : gives joules since some beginning, and only grows; what it raises is why a figure is missing
    systematic : relative half-width (95 %) of the gain error that all its figures share
    gain_id : what shares that error; this device of this machine unless given
    ticks : whether the count moves in steps of more than about 10 ms, which windows must then be aligned to
    plugin : the code that it comes from; ptprof sets it
    source : ``measured``

    Raises
    ------
    EnergyError : a component or an error that cannot be, or no name
    """

    component: Component
    device_id: str
    name: str
    count: Callable[[], float] = field(repr=False)
    systematic: float
    gain_id: str = ""
    ticks: bool = False
    plugin: PluginSource | None = None

    source: Source = field(default="measured", init=False)

    def __post_init__(self) -> None:
        if self.component not in COMPONENTS:
            raise EnergyError(f"a counter is of {', '.join(COMPONENTS)}, not of {self.component!r}")
        if not (self.name and self.device_id):
            raise EnergyError(f"a counter of {self.component} has a name and a device_id")
        if not 0 <= self.systematic < math.inf:
            raise EnergyError(
                f"the gain error of {self.name} is a share, such as 0.1 for ± 10 %, not {self.systematic}"
            )
        if not self.gain_id:
            object.__setattr__(self, "gain_id", f"{self.component}-{host_id()}-{self.device_id}")

    def read(self) -> float:
        """Joules since some beginning; EnergyError where `count` fails or gives none."""
        what = f"the {self.name} of {self.device_id}"
        try:
            joules = float(self.count())
        except FAULTS as error:
            raise EnergyError(f"{what} cannot be read: {in_words(error)}") from error
        if not math.isfinite(joules):
            raise EnergyError(f"{what} gives {joules}, which is no number of joules")
        return joules
