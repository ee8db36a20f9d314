"""Time, passed in: the monotonic clock, or a virtual one in tests."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since some beginning, and waiting."""

    def now(self) -> float:
        """Seconds; never goes backwards."""

    def sleep(self, seconds: float) -> None:
        """Wait at least ``seconds``."""


class MonotonicClock:
    """The machine's monotonic clock, in nanosecond steps."""

    def now(self) -> float:
        return time.perf_counter_ns() * 1e-9

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
