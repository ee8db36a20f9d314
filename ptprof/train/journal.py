"""What the running epoch has taken so far, on disk twice a second: a killed training knows what it lost.

A journal is one file of JSON lines, one journal for each process of a training:

    {"model": "fno", …}                                             the settings that it belongs to
    {"sitting": "a", "epoch": 0, "duration_s": …, "energy": {…}}    what an earlier sitting lost, if it did
    {"sitting": "b", "epoch": 3, "duration_s": …, "energy": {…}}    the third epoch, from its start up to now
    {"sitting": "b", "epoch": 3, …}                                 half a second later; the last one counts

A sitting is a training from one start to its end, under a name that all its processes share: what they lost
in it they lost side by side, on the machines that they were on then.

Lines are appended with one write each, which a killed process leaves to the system to finish. They are not
synced: after a power cut the last seconds may be missing, a checkpoint is there all the same, and the disk
is not woken twice a second for hours. A line that was cut short counts as not written. When an epoch is done
and saved, the file is written anew without its lines, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from ptprof.train.processes import Share, together

EVERY_S = 0.5
"""Between two entries (s): a thread that is late by as much still keeps the last entry below a second old."""


class OpenWindow(Protocol):
    """A window over energy that is open."""

    def so_far(self) -> tuple[float, EnergyBreakdown]: ...


class Entry(Share):
    """What an epoch has taken so far in one process; epoch 0 stands for what an earlier sitting lost."""

    sitting: str = ""
    epoch: int


class Journal:
    """The journal of a training that begins, or goes on, with so many epochs ``completed``.

    What the file there says of a later epoch is lost, and kept in `lost`, one entry for each sitting; one of
    a training with other settings, or one that cannot be read, is nothing to go on from, and is begun anew.

    Parameters
    ----------
    sitting, host : a name for this sitting, and this process's machine

    Raises
    ------
    StudyError : it cannot be written
    """

    def __init__(
        self, path: Path, settings: Settings, completed: int = 0, *, sitting: str = "", host: str = ""
    ) -> None:
        self.path, self.settings, self.sitting, self.host = path, settings, sitting, host
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
        lines: list[Value] = [self.settings, *self.lost]
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
                    entry = Entry(
                        sitting=self.sitting,
                        host=self.host,
                        epoch=epoch,
                        duration_s=duration_s,
                        energy=energy,
                    )
                    file.write(f"{entry.model_dump_json()}\n".encode())
                    if last:
                        return
        except OSError as error:
            failed.append(error)


def wasted(entries: Iterable[Entry]) -> tuple[float, EnergyBreakdown] | None:
    """Seconds and energy of what all processes lost in all sittings; None where they lost nothing."""
    sittings: dict[str, list[Entry]] = {}
    for entry in entries:
        sittings.setdefault(entry.sitting, []).append(entry)
    lost = [together(side_by_side) for side_by_side in sittings.values()]
    if not lost:
        return None
    return sum(share.duration_s for share in lost), total(share.energy for share in lost)


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


def _lost(entries: list[Entry], completed: int) -> tuple[Entry, ...]:
    """What earlier sittings lost and, where its epoch is not completed, the last one."""
    before = [entry for entry in entries if entry.epoch == 0]
    running = [entry.model_copy(update={"epoch": 0}) for entry in entries if entry.epoch > completed]
    return (*before, *running[-1:])
