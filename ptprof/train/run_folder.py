"""The folder of a run: what lies in it, who may write to it, and what is left of a training there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ptprof.errors import StudyError, UsageError
from ptprof.records import RunRecord
from ptprof.study import read_record
from ptprof.train.checkpoint import Settings, load_weights
from ptprof.train.processes import from_first, gathered, leads, processes

CHECKPOINT, EPOCHS, RESUME, RUN = "checkpoint.pt", "epochs.jsonl", "resume.pt", "run.json"

JOURNALS = "journal-*.jsonl"


def run_name(model: str, recipe: str, seed: int) -> str:
    """The name of a run, and of its folder in the study."""
    return f"{model}-{recipe}-s{seed}"


def finished(folder: Path, settings: Settings) -> RunRecord:
    """The run that ``folder`` holds, if it is what training with ``settings`` would make."""
    record = read_record(folder / RUN, RunRecord)
    made = Settings.of(record, settings.device)
    if differences := made.differences(settings):
        raise StudyError(
            f"{folder} holds a run that differs in {' and '.join(differences)}: keep it and use another"
            " study, or train again with --force"
        )
    load_weights(folder / CHECKPOINT, record.model, record.checkpoint_sha256)
    return record


def everyone_sees(folder: Path) -> None:
    """Wait for all processes, and check that what the first one writes here is there for each.

    Raises
    ------
    StudyError : on another machine it is not
    """
    if processes() == 1:
        return
    # A name that no machine has looked for before, and may remember as missing.
    mark = folder / from_first(lambda: f".{RUN}.{uuid4().hex}")
    if leads():
        mark.touch()
    try:
        gathered(None)
        seen = gathered(mark.exists())
    finally:
        if leads():
            mark.unlink()
    if not all(seen):
        raise StudyError(
            f"process {seen.index(False)} does not see what the first one writes in {folder}: put the study"
            " on a file system that all machines share"
        )


def everyone_trains(settings: Settings) -> None:
    """Wait for all processes, and check that all of them are to train the same on the same data.

    Raises
    ------
    UsageError : one is not
    """
    first, *others = gathered(settings)
    for number, other in enumerate(others, start=1):
        if differences := first.differences(other):
            raise UsageError(
                f"process {number} differs from the first in {' and '.join(differences)}: give the same"
                " command and the same data on every machine"
            )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from training this run; what one that was killed left half-written goes.

    Raises
    ------
    StudyError : another process trains it
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StudyError(f"another process trains {folder.name} now: wait for it, or end it") from None
    except OSError:
        pass  # A file system that has no locks, as some of clusters: who shares it must see to it.
    try:
        for name in (CHECKPOINT, EPOCHS, RESUME, RUN, JOURNALS):
            for leftover in folder.glob(f".{name}.*"):
                leftover.unlink()
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()  # A training that never began leaves nothing.
        os.close(handle)


def forget(folder: Path) -> None:
    """Remove the state of a training and what it has taken: it is finished, or not to be gone on with.

    The state goes first: with it, and without its journals, what was lost would be forgotten.
    """
    for path in (folder / RESUME, *folder.glob(JOURNALS)):
        path.unlink(missing_ok=True)
