"""Power sampled beside the work, by a process of its own: a second opinion on the energy counter.

The sampler and this process share the machine's monotonic clock, so that the samples of any window can be cut
out afterwards. Nothing runs in this process meanwhile.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from ptprof.energy.sampler import SAMPLE
from ptprof.errors import EnergyError, UsageError
from ptprof.records import PowerSamples

#: From one sample to the next (s): a fifth of the time in which current boards renew what they show.
INTERVAL_S = 0.02
#: A longer stretch without a sample (s) is not integrated over.
LARGEST_GAP_S = 0.5
#: How long to wait (s) for the sampler to begin, and for a sample after a window's end.
BEGIN_S = 60.0
LATE_S = 2.0
#: Where counter and samples differ by more, one of them is wrong.
DISAGREEMENT = 0.05


class PowerTrace:
    """The power of some boards, sampled while the context lasts.

        with PowerTrace([uuid]) as trace:
            ...
            trace.joules(uuid, start_s, end_s)

    Times are those of ``MonotonicClock``.

    Parameters
    ----------
    uuids : the boards
    interval_s : from one sample to the next, 0.01 to 0.1 s

    Attributes
    ----------
    readings : by board, what a sample is; see `ptprof.energy.power`
    missing : by board, why there is none
    """

    def __init__(self, uuids: Sequence[str], interval_s: float = INTERVAL_S) -> None:
        if not 0.01 <= interval_s <= 0.1:
            raise UsageError(f"power is sampled every 0.01 to 0.1 s, not every {interval_s} s")
        self.uuids = tuple(uuids)
        self.interval_s = interval_s
        self.readings: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self._times: dict[str, list[float]] = {uuid: [] for uuid in self.uuids}
        self._powers: dict[str, list[float]] = {uuid: [] for uuid in self.uuids}
        self._offset = 0

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile()
        self._errors = tempfile.TemporaryFile()
        descriptor = self._file.fileno()
        module = [sys.executable, "-m", "ptprof.energy.sampler"]
        self._process = subprocess.Popen(
            [*module, str(descriptor), str(self.interval_s), *self.uuids],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            pass_fds=[descriptor],
            start_new_session=True,
        )
        said = self._first_words()
        self.readings, self.missing = said["readings"], said["missing"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()  # its standard input ends, and so does the sampler
        try:
            self._process.wait(LATE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._drain()
        self._file.close()
        self._errors.close()

    def joules(self, uuid: str, start_s: float, end_s: float) -> float:
        """The integral of the sampled power over a stretch of time, J.

        Raises
        ------
        EnergyError : the samples do not cover it
        """
        return integral(self.samples(uuid, start_s, end_s), start_s, end_s)

    def samples(self, uuid: str, start_s: float, end_s: float) -> PowerSamples:
        """The samples of a stretch of time, the last one before and the first one after it included.

        Raises
        ------
        EnergyError : the board gives none
        """
        if uuid not in self.readings:
            raise EnergyError(self.missing.get(uuid, f"the power of {uuid!r} is not sampled"))
        times, powers = self._times[uuid], self._powers[uuid]
        patience_s = time.monotonic() + LATE_S
        self._drain()
        while (not times or times[-1] < end_s) and self._runs() and time.monotonic() < patience_s:
            time.sleep(self.interval_s / 4)
            self._drain()
        within = slice(max(bisect_right(times, start_s) - 1, 0), bisect_left(times, end_s) + 1)
        return PowerSamples(
            device_id=uuid,
            reading=self.readings[uuid],
            interval_s=self.interval_s,
            time_s=tuple(times[within]),
            power_w=tuple(powers[within]),
        )

    def _runs(self) -> bool:
        return self._process.poll() is None

    def _drain(self) -> None:
        """Take in what the sampler has written since the last time."""
        if self._file.closed:
            return
        size = os.fstat(self._file.fileno()).st_size
        new = os.pread(self._file.fileno(), size - self._offset, self._offset)
        whole = len(new) - len(new) % SAMPLE.size
        for sampled_s, power_w, index in SAMPLE.iter_unpack(new[:whole]):
            self._times[self.uuids[index]].append(sampled_s)
            self._powers[self.uuids[index]].append(power_w)
        self._offset += whole

    def _first_words(self) -> dict[str, Any]:
        """What the sampler says of its readings; where it cannot sample at all, why, for each board."""
        said = self._process.stdout
        line = said.readline() if said is not None and select.select([said], [], [], BEGIN_S)[0] else b""
        if line:
            words: dict[str, Any] = json.loads(line)
            return words
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        why = self._errors.read().decode("utf-8", "replace").strip().rsplit("\n", maxsplit=1)[-1]
        return {"readings": {}, "missing": dict.fromkeys(self.uuids, why or "the sampler did not begin")}


def integral(samples: PowerSamples, start_s: float, end_s: float) -> float:
    """Joules from ``start_s`` to ``end_s``: the power taken to be linear from one sample to the next.

    Raises
    ------
    EnergyError : no sample on either side of them, or none for too long in between
    """
    points = list(zip(samples.time_s, samples.power_w, strict=True))
    if not points or points[0][0] > start_s or points[-1][0] < end_s:
        raise EnergyError(f"the sampled power of {samples.device_id} does not cover the window")
    joules = 0.0
    for (t0, p0), (t1, p1) in pairwise(points):
        low, high = max(t0, start_s), min(t1, end_s)
        if high <= low:
            continue
        if t1 - t0 > LARGEST_GAP_S:
            raise EnergyError(f"the power of {samples.device_id} was not sampled for {t1 - t0:.1f} s")
        slope = (p1 - p0) / (t1 - t0)
        joules += (high - low) * (p0 + slope * ((low + high) / 2 - t0))
    return joules


def cross_check(counted_j: float, sampled_j: float) -> str | None:
    """What to flag where the integral of the sampled power is not the counter's figure; None where it is."""
    difference = sampled_j / counted_j - 1 if counted_j else 0.0
    if abs(difference) <= DISAGREEMENT:
        return None
    compared = "more" if difference > 0 else "less"
    return f"sampled power gives {abs(difference):.0%} {compared} than the counter"
