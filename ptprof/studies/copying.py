"""Writing what was planned: each file whole or not at all, and one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.progress import Progress

from ptprof.errors import StudyError
from ptprof.studies.planning import Entry
from ptprof.study import atomic


@contextmanager
def alone_in(root: Path) -> Iterator[None]:
    """Keep other processes from merging into ``root``, which is made where it is missing.

    Raises
    ------
    StudyError : another process does, or it cannot be made
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY)
    except OSError as error:
        raise StudyError(f"{root} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StudyError(f"another process merges into {root} now: wait for it, or end it") from None
    except OSError:
        pass  # A file system that has no locks: who shares it must see to it.
    try:
        yield
    finally:
        with suppress(OSError):
            root.rmdir()  # Nothing was merged into what was not there before.
        os.close(handle)


def carry_out(jobs: Sequence[tuple[Path, Entry]], progress: Progress | None) -> None:
    """Write the files; what a merge that was killed left half-written of them goes.

    Raises
    ------
    StudyError : one cannot be written; those before it stay
    """
    task = None if progress is None else progress.add_task("merge", total=len(jobs))
    for done, (target, entry) in enumerate(jobs):
        try:
            _write(target, entry)
        except OSError as error:
            raise StudyError(
                f"{target} cannot be written: {error.strerror or error}; {done} of {len(jobs)} files are"
                " there, and the same command goes on from them"
            ) from None
        if progress is not None and task is not None:
            progress.advance(task)


def _write(target: Path, entry: Entry) -> None:
    for leftover in target.parent.glob(f".{target.name}.*"):
        leftover.unlink()
    if entry.is_link:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(entry.file.resolve())
        return
    with atomic(target) as temporary:
        if entry.content is None:
            shutil.copyfile(entry.file, temporary)
        else:
            temporary.write_text(entry.content, encoding="utf-8")
