"""What simulating a data set cost."""

from __future__ import annotations

from pydantic import Field

from ptprof.records.base import Environment, Record
from ptprof.records.joules import EnergyBreakdown


class GenerationRecord(Record):
    """``generation.json`` of a data set that ptprof simulated: what it took, writing it included.

    ``simulated_s`` is the flow's own time, summed over the trajectories; ``dt`` the time between two states.
    """

    trajectories: int
    states: int
    dt: float = Field(gt=0)
    simulated_s: float = Field(gt=0)
    grid: tuple[int, int]
    device: str
    duration_s: float
    energy: EnergyBreakdown
    environment: Environment
    created: str
