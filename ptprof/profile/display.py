"""What is said while measurements are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.progress import Progress

from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.summary import Subject


class Display:
    """A bar that counts windows, headed by how long it will take."""

    def __init__(self, progress: Progress | None, protocol: MeasuringProtocol) -> None:
        self._progress = progress
        self._protocol = protocol
        self._total = 0

    def say(self, lines: Iterable[object]) -> None:
        """Print lines above the bar."""
        if self._progress is not None:
            for line in lines:
                self._progress.console.print(str(line), markup=False, highlight=False)

    def plan(self, total: int, missing: Sequence[Subject], devices: int = 1) -> None:
        """Say how long measuring will take on so many devices, and draw the bar."""
        if self._progress is None:
            return
        there = f", {total - len(missing)} of them there already" if len(missing) < total else ""
        self._total = len(missing) * self._protocol.windows
        self._task = self._progress.add_task("profile", total=self._total)
        if missing:
            self.say([f"{total} measurements{there}: {self._time(missing, devices)}"])

    def runtime(self, runtime: str) -> None:
        if self._progress is not None:
            self._progress.update(self._task, description=f"profile on {runtime}")

    def step(self, windows: int) -> None:
        if self._progress is not None:
            self._progress.advance(self._task, windows)

    def extend(self, windows: int) -> None:
        """There is more to do than was planned."""
        self._total += windows
        if self._progress is not None:
            self._progress.update(self._task, total=self._total)

    def _time(self, missing: Sequence[Subject], devices: int) -> str:
        """How long the windows take that have a length of their own, and what comes on top."""
        timed = [subject for subject in missing if subject.scenario.name != "cold-start"]
        if self._protocol.name == "paper" or not timed:
            return f"{len(missing)} times {self._protocol.windows} fresh processes, as long as they take"
        count = len(timed)
        starts = (len(missing) - count) * self._protocol.windows
        least = sum(self._protocol.planned_s(1, subject.scenario.duration_s) for subject in timed)
        most = max(self._protocol.most_planned_s(count), least)
        on = f" on each of {devices} devices" if devices > 1 else ""
        return (
            f"about {_minutes(least / devices)} of measuring{on}, more where calls are long,"
            f" {_minutes(most / devices)} at most; loading and idle windows come on top"
            + (f", and {starts} cold starts" if starts else "")
        )


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
