"""What of each study goes where: one entry for each path of the merged study."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ptprof.records import (
    ArtifactRecord,
    EstimateRecord,
    Measurement,
    PinnPoint,
    PinnRecord,
    Record,
    RunRecord,
    ServedRecord,
)
from ptprof.studies.checking import ARTIFACT, BURGERS, MEASUREMENTS, SERVED
from ptprof.study import PINN_RUNS, Study, json_of, measurement_name, read_record
from ptprof.train.estimate import ESTIMATE
from ptprof.train.run_folder import JOURNALS, RESUME, RUN

DATA, REPORT = "data", "report"
RUNS, ARTIFACTS = "runs", "artifacts"
FIRST = (DATA, RUNS, ARTIFACTS)
"""What is written before the rest, which refers to it; in each, records come last."""
KINDS: dict[str, type[Record]] = {RUN: RunRecord, ESTIMATE: EstimateRecord, ARTIFACT: ArtifactRecord}


@dataclass(frozen=True)
class Entry:
    """What stands at a path: a file of the study ``of``, or ``content`` in its place."""

    file: Path
    of: Path
    content: str | None = None

    @property
    def is_link(self) -> bool:
        """Whether it is a link to data that lie elsewhere, and stays one."""
        return (
            self.content is None
            and self.file.is_symlink()
            and self.file.relative_to(self.of).parts[0] == DATA
        )

    @property
    def size_bytes(self) -> int:
        if self.content is not None:
            return len(self.content.encode())
        return (self.file.lstat() if self.is_link else self.file.stat()).st_size

    def text(self) -> str:
        return self.file.read_text(encoding="utf-8") if self.content is None else self.content

    def same(self, other: Entry) -> bool:
        """Whether the two hold the same."""
        if self.content is not None or other.content is not None:
            return self.text() == other.text()
        if self.file.is_dir() or other.file.is_dir():
            return self.file.resolve() == other.file.resolve()
        return filecmp.cmp(self.file, other.file, shallow=False)


Files = dict[Path, Entry]


class Tree:
    """The files of a study by their paths in it, without what is hidden and without reports."""

    def __init__(self, study: Study, data: bool = True) -> None:
        self.root = study.root
        skipped = {REPORT} if data else {REPORT, DATA}
        self.files: Files = {
            path: Entry(self.root / path, self.root)
            for path in sorted(_leaves(self.root))
            if path.parts[0] not in skipped
        }
        marks = [*self.root.glob(f"runs/*/{RESUME}"), *self.root.glob(f"runs/*/{JOURNALS}")]
        self.unfinished = sorted({mark.parent.name for mark in marks})

    def owner(self, path: Path) -> str:
        """What a file is part of: its run, or where it is of none only itself."""
        if path.parts[0] in (RUNS, ARTIFACTS) and len(path.parts) > 2:
            return path.parts[1]
        if _is_measurement(path):
            return read_record(self.root / path, Measurement).run
        return path.as_posix()


class Plan:
    """The merged study: what is there already, and then one tree after the other.

    Attributes
    ----------
    there : how many files of the trees were in it already
    conflicts : names with two contents, and the two studies
    renamed, left_out : runs that are called otherwise now, and what is not in the merged study
    """

    def __init__(self, into: Tree) -> None:
        self._root = into.root
        self._before = dict(into.files)
        self._kept = dict(into.files)
        self.there = 0
        self.conflicts: list[tuple[str, Path, Path]] = []
        self.renamed: dict[str, str] = {}
        self.left_out: list[str] = []

    def add(self, tree: Tree, conflicts: str, suffix: str) -> None:
        """Take in a study; ``conflicts`` and ``suffix`` as for `ptprof.studies.merge`."""
        self.left_out += [f"{run} of {tree.root}: its training has not ended" for run in tree.unfinished]
        owners = {path: tree.owner(path) for path in tree.files}
        files = {path: e for path, e in tree.files.items() if owners[path] not in tree.unfinished}
        self._take_data(tree, {path: files.pop(path) for path in list(files) if path.parts[0] == DATA})
        self._combine(files, owners)
        clashes = self._clashing(files, owners)
        self._take({path: e for path, e in files.items() if owners[path] not in clashes})
        for name, first in clashes.items():
            if conflicts == "refuse":
                self.conflicts.append((name, first, tree.root))
            elif conflicts == "first":
                self.left_out.append(f"{name} of {tree.root}: {first} has another")
            else:
                self._rename(tree, {p: e for p, e in files.items() if owners[p] == name}, name, suffix)

    def jobs(self) -> list[tuple[Path, Entry]]:
        """What is to be written and where, in an order in which nothing is referred to before it is there."""
        new = [path for path, entry in self._kept.items() if self._before.get(path) != entry]
        return [(self._root / path, self._kept[path]) for path in sorted(new, key=_order)]

    def _clashing(self, files: Files, owners: dict[Path, str]) -> dict[str, Path]:
        """What has another content here, by name, and the study that had it first."""
        return {owners[path]: self._kept[path].of for path, e in files.items() if self._clashes(path, e)}

    def _combine(self, files: Files, owners: dict[Path, str]) -> None:
        """Make one of two that hold parts of the same: lists of exports, states of a server's total."""
        trained = {path: entry for path, entry in files.items() if path.parts[0] == RUNS}
        other_runs = self._clashing(trained, owners)
        for path in [path for path in files if path in self._kept]:
            if path.parts[0] == ARTIFACTS and path.name == ARTIFACT and owners[path] not in other_runs:
                self._unite(path, files)
            elif path.parts[0] == SERVED and path.suffix == ".json":
                files[path] = self._kept[path] = _later(self._kept[path], files[path])

    def _clashes(self, path: Path, entry: Entry) -> bool:
        return path in self._kept and not self._kept[path].same(entry)

    def _take(self, files: Files) -> None:
        for path, entry in files.items():
            self.there += path in self._kept
            self._kept.setdefault(path, entry)

    def _take_data(self, tree: Tree, data: Files) -> None:
        """A data set is one thing: files of two that differ are not mixed, and the first one stays."""
        kept = {path: entry for path, entry in self._kept.items() if path.parts[0] == DATA}
        linked = any(entry.is_link for entry in (*kept.values(), *data.values()))
        apart = linked and bool(kept) and bool(data) and kept.keys() != data.keys()
        if apart or any(self._clashes(path, entry) for path, entry in data.items()):
            first = next(iter(kept.values())).of
            self.left_out.append(f"data of {tree.root}: {first} has others")
        else:
            self._take(data)

    def _unite(self, path: Path, files: Files) -> None:
        """Of two exports of one checkpoint, let the record that is kept list the files of both.

        Where both exported to one name, the first file stays; the other leaves ``files``.
        """
        ours, theirs = (ArtifactRecord.model_validate_json(e.text()) for e in (self._kept[path], files[path]))
        if ours.checkpoint_sha256 != theirs.checkpoint_sha256 or ours == theirs:
            return
        listed = {file.name: file for file in theirs.files}
        for file in ours.files:
            place = path.with_name(file.name)
            if listed.get(file.name) == file:
                continue
            if place in self._kept or place not in files:
                listed[file.name] = file
                files.pop(place, None)
        newer = max(ours, theirs, key=lambda record: (record.created, record.environment.model_dump_json()))
        every = tuple(sorted(listed.values(), key=lambda f: (f.format, f.name)))
        united = newer.model_copy(update={"files": every})
        if united != ours:
            self._kept[path] = replace(self._kept[path], content=json_of(united))
        files.pop(path)

    def _rename(self, tree: Tree, files: Files, name: str, suffix: str) -> None:
        """Take in a run, or one other file, under the first name that is free or means the same already."""
        for number in count(1):
            ending = f"-{suffix}" if number == 1 else f"-{suffix}{number}"
            path = Path(name)
            new = path.with_stem(path.stem + ending).as_posix() if path in files else name + ending
            renamed = dict(_renamed(path, entry, name, new) for path, entry in files.items())
            self._combine(renamed, dict.fromkeys(renamed, new))
            if not any(self._clashes(path, entry) for path, entry in renamed.items()):
                break
        self._take(renamed)
        self.renamed[f"{tree.root}: {name}"] = new


def _leaves(root: Path) -> Iterator[Path]:
    """All files but hidden ones; links within the data are leaves, others are followed."""
    for folder, folders, files in os.walk(root, followlinks=True):
        here = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [n for n in folders if (here / n).parts[0] == DATA and (Path(folder) / n).is_symlink()]
        folders[:] = [name for name in folders if name not in links]
        yield from (here / name for name in (*files, *links) if not name.startswith("."))


def _is_measurement(path: Path) -> bool:
    return path.parts[0] == MEASUREMENTS and path.suffix == ".json"


def _later(one: Entry, other: Entry) -> Entry:
    """Of two states of one server's total the later one, which holds the earlier."""
    states = [
        (ServedRecord.model_validate_json(entry.text()).updated, entry.text()) for entry in (one, other)
    ]
    return one if states[0] >= states[1] else other


def _renamed(path: Path, entry: Entry, name: str, new: str) -> tuple[Path, Entry]:
    """A file of the run ``name`` as one of ``new``: another place, and where it is a record another text."""
    if path.parts[0] == MEASUREMENTS:
        measured = read_record(entry.file, Measurement).model_copy(update={"run": new})
        return path.with_name(measurement_name(measured)), replace(entry, content=json_of(measured))
    target = Path(new) if path.as_posix() == name else Path(path.parts[0], new, *path.parts[2:])
    kind: type[Record] | None = PinnPoint if path.parts[0] == BURGERS else KINDS.get(path.name)
    if kind is None:
        return target, entry
    if kind is RunRecord and name.startswith(PINN_RUNS):
        kind = PinnRecord
    record = kind.model_validate_json(entry.text()).model_copy(update={"run": Path(new).stem})
    return target, replace(entry, content=json_of(record))


def _order(path: Path) -> tuple[int, bool, Path]:
    group = FIRST.index(path.parts[0]) if path.parts[0] in FIRST else len(FIRST)
    return group, path.name in KINDS, path
