"""What the running epoch has taken so far, on disk twice a second: a killed training knows what it lost.

A journal is one file of JSON lines, one journal for each process of a training:

    {"model": "fno", …}                               the settings that it belongs to
    {"epoch": 0, "duration_s": …, "energy": {…}}      what earlier sittings lost, if they did
    {"epoch": 3, "duration_s": …, "energy": {…}}      the third epoch, from its start up to now
    {"epoch": 3, …}                                   the same, half a second later; the last one counts

Lines are appended with one write each, which a killed process leaves to the system to finish. They are not
synced: after a power cut the last seconds may be missing, a checkpoint is there all the same, and the disk
is not woken twice a second for hours. A line that was cut short counts as not written. When an epoch is done
and saved, the file is written anew without its lines, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from pydantic import ValidationError

from ptprof.energy import total
from ptprof.errors import StudyError
from ptprof.records import EnergyBreakdown, Value
from ptprof.study import write_text
from ptprof.train.checkpoint import Settings

EVERY_S = 0.5
"""Between two entries (s): a thread that is late by as much still keeps the last entry below a second old."""


class OpenWindow(Protocol):
    """A window over energy that is open."""

    def so_far(self) -> tuple[float, EnergyBreakdown]: ...


class Entry(Value):
    """What an epoch has taken so far; epoch 0 stands for what earlier sittings lost."""

    epoch: int
    duration_s: float
    energy: EnergyBreakdown


class Journal:
    """The journal of a training that begins, or goes on, with so many epochs ``completed``.

    What the file there says of a later epoch is lost, and kept as `lost`; one of a training with other
    settings, or one that cannot be read, is nothing to go on from, and is begun anew.

    Raises
    ------
    StudyError : it cannot be written
    """

    def __init__(self, path: Path, settings: Settings, completed: int = 0) -> None:
        self.path, self.settings = path, settings
        self.lost = _lost(_entries(path, settings), completed)
        self.complete()

    @contextmanager
    def watch(self, epoch: int, window: OpenWindow) -> Iterator[None]:
        """Note what ``window`` has taken while the block runs, from a thread, and once more at its end."""
        done = Event()
        failed: list[OSError] = []
        thread = Thread(target=self._keep, args=(epoch, window, done, failed), name="journal", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        if failed:
            raise StudyError(f"{self.path} cannot be written: {failed[0].strerror}")

    def complete(self) -> None:
        """The running epoch is done and saved: nothing of it can be lost any more."""
        lines: list[Value] = [self.settings] if self.lost is None else [self.settings, self.lost]
        try:
            write_text(self.path, "".join(f"{line.model_dump_json()}\n" for line in lines))
        except OSError as error:
            raise StudyError(f"{self.path} cannot be written: {error.strerror}") from None

    def remove(self) -> None:
        """The training is done, and its record holds what was lost."""
        self.path.unlink(missing_ok=True)

    def _keep(self, epoch: int, window: OpenWindow, done: Event, failed: list[OSError]) -> None:
        try:
            with self.path.open("ab", buffering=0) as file:
                while True:
                    last = done.wait(EVERY_S)
                    duration_s, energy = window.so_far()
                    entry = Entry(epoch=epoch, duration_s=duration_s, energy=energy)
                    file.write(f"{entry.model_dump_json()}\n".encode())
                    if last:
                        return
        except OSError as error:
            failed.append(error)


def _entries(path: Path, settings: Settings) -> list[Entry]:
    """The entries of a journal of ``settings`` up to the first that is not whole; none of another one."""
    try:
        first, *lines = path.read_bytes().split(b"\n")
        if Settings.model_validate_json(first) != settings:
            return []
    except (FileNotFoundError, ValidationError):
        return []
    entries: list[Entry] = []
    for line in lines:
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError:
            break
    return entries


def _lost(entries: list[Entry], completed: int) -> Entry | None:
    """What was lost before and, where its epoch is not completed, by the last sitting, in one entry."""
    before = [entry for entry in entries if entry.epoch == 0][:1]
    running = [entry for entry in entries if entry.epoch > completed][-1:]
    parts = before + running
    if not parts:
        return None
    return Entry(epoch=0, duration_s=sum(p.duration_s for p in parts), energy=total(p.energy for p in parts))
