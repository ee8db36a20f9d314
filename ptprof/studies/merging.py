"""Several studies made into one: all of it is planned before anything is written.

The same file in two studies is taken once. Of two exports of one checkpoint the lists of files are united.
Runs of one name that are not the same run are in conflict, and so is what else has one name and two contents.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.progress import Progress

from ptprof.errors import StudyError, UsageError
from ptprof.records import Value
from ptprof.studies.checking import check
from ptprof.studies.copying import alone_in, carry_out
from ptprof.studies.planning import Plan, Tree
from ptprof.study import Study

Conflicts = Literal["refuse", "first", "rename"]
"""What to do with runs of one name that differ: nothing at all, keep the first one, or keep both."""


class MergeReport(Value):
    """What a merge did: how many files it has ``written``, and how many were ``there`` already.

    ``renamed`` has the new names of runs, by study and old name; ``left_out`` says what was not taken.
    """

    into: str
    sources: tuple[str, ...]
    written: int
    written_bytes: int
    there: int
    renamed: dict[str, str]
    left_out: tuple[str, ...]


def merge(
    sources: Sequence[Study],
    into: Study,
    *,
    conflicts: Conflicts = "refuse",
    suffix: str = "",
    data: bool = True,
    progress: Progress | None = None,
) -> MergeReport:
    """Bring what ``sources`` hold into ``into``, which may hold something; the sources stay as they are.

    Stopped, it can be done again and goes on. Reports are left out, since they are made from the rest, and so
    are unfinished trainings.

    Parameters
    ----------
    conflicts : ``first`` keeps what is in ``into``, or in the first source that has it, and leaves out the
        other with its exports and measurements; ``rename`` gives those ``suffix`` at the end of their name
    data : whether to take the data set too, where ``into`` has none

    Raises
    ------
    UsageError : nothing to merge, or a suffix that cannot be part of a name
    StudyError : a source that is not there, a study that is broken, runs in conflict, no room, a file that
        cannot be written; another process that merges into ``into`` now
    """
    studies = _distinct(sources, into)
    if conflicts == "rename" and not suffix.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"a suffix is letters, digits, - and _, such as b, and not {suffix!r}")
    for study in (into, *studies) if into.root.is_dir() else studies:
        _check_whole(study, progress)
    with alone_in(into.root):
        plan = Plan(Tree(into, data))
        for study in studies:
            plan.add(Tree(study, data), conflicts, suffix)
        if plan.conflicts:
            raise StudyError(_in_words(plan.conflicts))
        jobs = plan.jobs()
        size_bytes = sum(entry.size_bytes for _, entry in jobs)
        _check_room(into.root, size_bytes)
        carry_out(jobs, progress)
    return MergeReport(
        into=str(into.root),
        sources=tuple(str(study.root) for study in studies),
        written=len(jobs),
        written_bytes=size_bytes,
        there=plan.there,
        renamed=plan.renamed,
        left_out=tuple(dict.fromkeys(plan.left_out)),
    )


def _distinct(sources: Sequence[Study], into: Study) -> list[Study]:
    """The sources that are there, each once, without the one that the others are merged into."""
    for study in sources:
        if not study.root.is_dir():
            raise StudyError(f"{study.root} is not there: a study is a folder")
    target = into.root.resolve()
    found = {study.root.resolve(): study for study in sources}
    found.pop(target, None)
    for root, study in found.items():
        if target.is_relative_to(root) or root.is_relative_to(target):
            raise UsageError(
                f"{study.root} and {into.root} lie in each other: name another folder with --into"
            )
    if not found:
        raise UsageError("name two studies to merge, or one and another --into")
    return list(found.values())


def _check_whole(study: Study, progress: Progress | None) -> None:
    """Raise StudyError for a study with a broken file; what is not there may be in another one."""
    broken = [
        finding for finding in check(study, data=False, progress=progress).faults if finding.kind == "broken"
    ]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise StudyError(
            f"{study.root / broken[0].path} {broken[0].what}{more}: see `ptprof study check {study.root}`"
        )


def _in_words(conflicts: Sequence[tuple[str, Path, Path]]) -> str:
    name, first, other = conflicts[0]
    more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
    return (
        f"{name}{more} is one thing in {first} and another in {other}: keep the first with --keep-first, or"
        " both with --rename SUFFIX"
    )


def _check_room(root: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(root).free
    if needed_bytes > free:
        raise StudyError(
            f"{root} has room for {free / 1e9:.2f} GB of {needed_bytes / 1e9:.2f} GB: nothing was written"
        )
