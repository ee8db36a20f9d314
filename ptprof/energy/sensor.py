"""What a sensor is: a count of joules that only grows."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ptprof.energy.board import BoardState
from ptprof.records import BoardFacts, Component, Source


class Sensor(Protocol):
    """A cumulative count of the joules that one part of the machine took.

    Attributes
    ----------
    component : which part of an `EnergyBreakdown` it counts for
    device_id : which board or socket: a GPU's UUID
    name : what it is, as `Energy.sensor` shows it
    source : ``measured`` or ``modelled``
    systematic : relative half-width (95 %) of the gain error that all its figures share
    gain_id : what shares that gain error
    ticks : whether the count moves in steps in time, which windows must then be aligned to
    """

    @property
    def component(self) -> Component: ...
    @property
    def device_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def source(self) -> Source: ...
    @property
    def systematic(self) -> float: ...
    @property
    def gain_id(self) -> str: ...
    @property
    def ticks(self) -> bool: ...

    def read(self) -> float:
        """Joules since some beginning; raises EnergyError where that cannot be read."""


@runtime_checkable
class BoardSensor(Protocol):
    """A sensor that also knows the state of its board."""

    @property
    def device_id(self) -> str: ...

    def state(self) -> BoardState:
        """The board at this moment."""

    def facts(self) -> BoardFacts:
        """What the board is, and what it is set to."""
