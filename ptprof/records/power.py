"""Power that was sampled."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

from pydantic import Field, model_validator

from ptprof.records.base import Value


class PowerSamples(Value):
    """Power of one device (W) at moments of the monotonic clock (s).

    ``reading`` says what a sample is: instant power, or the mean of some time before it. ``interval_s`` is
    how far apart the samples were meant to be.
    """

    device_id: str
    reading: str
    interval_s: float = Field(gt=0)
    time_s: tuple[float, ...]
    power_w: tuple[float, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if len(self.time_s) != len(self.power_w):
            raise ValueError(f"{len(self.time_s)} times and {len(self.power_w)} powers")
        if any(later <= earlier for earlier, later in pairwise(self.time_s)):
            raise ValueError("the times do not grow")
        if any(power < 0 for power in self.power_w):
            raise ValueError("a power is below zero")
        return self
