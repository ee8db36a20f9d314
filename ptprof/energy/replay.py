"""A recorded trace as a sensor: the joules or watts of a file, at the times that it was recorded at."""

from __future__ import annotations

import csv
import json
import math
from bisect import bisect_right
from itertools import accumulate, pairwise
from pathlib import Path

from ptprof.energy.clock import Clock, MonotonicClock
from ptprof.errors import DataError, EnergyError
from ptprof.records import Component, Source

TIME, JOULES, WATTS = "time_s", "joules", "power_w"


class Replay:
    """A sensor that counts what a file holds, from its first moment on when it is made.

    The file has ``time_s`` and either ``joules``, a counter as it was read (it shows each value until the
    next one), or ``power_w``, taken to be linear in between: a CSV table with these columns, or JSON with
    these lists, as a `ptprof.records.PowerSamples` is written. The recording's own error is the user's to
    state.

    Parameters
    ----------
    path : the file, ``.csv`` or ``.json``
    clock : in whose time it is replayed; the monotonic clock otherwise
    component : which part of the machine it is of
    systematic : relative half-width (95 %) of its gain's error

    Raises
    ------
    DataError : a file that cannot be used: no such columns, fewer than two rows, times that do not grow, a
        count that falls, a power below zero, anything that is not a number
    """

    source: Source = "measured"

    def __init__(
        self,
        path: Path,
        clock: Clock | None = None,
        *,
        component: Component = "gpu",
        systematic: float = 0.05,
    ) -> None:
        columns = _read(path)
        values = JOULES if JOULES in columns else WATTS
        self._times = [time_s - columns[TIME][0] for time_s in columns[TIME]]
        self._powers = None if values == JOULES else columns[values]
        self._counts = columns[values] if self._powers is None else _integrated(self._times, self._powers)
        self._clock = clock or MonotonicClock()
        self._begun_s = self._clock.now()
        self.component = component
        self.device_id = self.gain_id = path.name
        self.name = f"replay of {path.name}"
        self.systematic = systematic
        self.ticks = self._powers is None

    def read(self) -> float:
        elapsed_s = self._clock.now() - self._begun_s
        if elapsed_s > self._times[-1]:
            raise EnergyError(f"{self.name}: it ends after {self._times[-1]:g} s")
        at = max(bisect_right(self._times, elapsed_s) - 1, 0)
        if self._powers is None or at + 1 == len(self._times):
            return self._counts[at]
        since_s = elapsed_s - self._times[at]
        slope = (self._powers[at + 1] - self._powers[at]) / (self._times[at + 1] - self._times[at])
        return self._counts[at] + since_s * (self._powers[at] + slope * since_s / 2)


def _integrated(times: list[float], powers: list[float]) -> list[float]:
    steps = zip(pairwise(times), pairwise(powers), strict=True)
    return list(accumulate(((t1 - t0) * (p0 + p1) / 2 for (t0, t1), (p0, p1) in steps), initial=0.0))


def _read(path: Path) -> dict[str, list[float]]:
    """The columns of a file that is fit to be replayed."""
    try:
        text = path.read_text(encoding="utf-8")
        columns = _of_json(text) if path.suffix == ".json" else _of_csv(text)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path} is no trace: it needs {TIME} and {JOULES} or {WATTS}, all numbers") from None
    fault = _fault(columns)
    if fault is not None:
        raise DataError(f"{path} cannot be replayed: {fault}")
    return columns


def _of_csv(text: str) -> dict[str, list[float]]:
    rows = list(csv.DictReader(text.splitlines()))
    value = JOULES if rows and JOULES in rows[0] else WATTS
    return {column: [float(row[column]) for row in rows] for column in (TIME, value)}


def _of_json(text: str) -> dict[str, list[float]]:
    found = json.loads(text)
    value = JOULES if JOULES in found else WATTS
    return {column: [float(number) for number in found[column]] for column in (TIME, value)}


def _fault(columns: dict[str, list[float]]) -> str | None:
    """What is wrong with the numbers; None where nothing is."""
    times = columns[TIME]
    values = columns[JOULES] if JOULES in columns else columns[WATTS]
    if len(times) != len(values) or len(times) < 2:
        return f"{len(times)} times and {len(values)} values, where at least two of each are needed"
    if not all(map(math.isfinite, [*times, *values])):
        return "not all of it are numbers"
    if any(later <= earlier for earlier, later in pairwise(times)):
        return "its times do not grow"
    if JOULES in columns and any(later < earlier for earlier, later in pairwise(values)):
        return "its count falls"
    if WATTS in columns and min(values) < 0:
        return "a power is below zero"
    return None
