"""Whether a study is what its records say: they are read, files are hashed, references are followed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError
from rich.progress import Progress

from ptprof.errors import DataError, PtprofError, StudyError
from ptprof.records import (
    ArtifactRecord,
    Epoch,
    EstimateRecord,
    GenerationRecord,
    Measurement,
    Model,
    ModelRecord,
    PinnPoint,
    PinnRecord,
    PinnStage,
    Record,
    RunRecord,
    ServedRecord,
    Value,
)
from ptprof.study import GENERATION, PINN_RUNS, Study, read_record, sha256
from ptprof.train.data import data_sha256
from ptprof.train.estimate import ESTIMATE
from ptprof.train.recipe import load_recipe
from ptprof.train.run_folder import CHECKPOINT, EPOCHS, JOURNALS, RESUME, RUN

R = TypeVar("R", bound=Record)

ARTIFACT = "artifact.json"
MEASUREMENTS, BURGERS, SERVED = "measurements", "burgers", "served"
FLAT: dict[str, type[Record]] = {MEASUREMENTS: Measurement, BURGERS: PinnPoint, SERVED: ServedRecord}
"""Folders that hold records and nothing else."""


class Finding(Value):
    """Something about one file or folder, by its path in the study.

    ``broken`` is not what it must be, ``missing`` is referred to and not there; a ``note`` is no fault.
    """

    kind: Literal["broken", "missing", "note"]
    path: str
    what: str

    @property
    def is_fault(self) -> bool:
        """Whether it makes the study one that is not in order."""
        return self.kind != "note"


class CheckReport(Value):
    """What was found in a study, of how many records that were read and files that were hashed."""

    study: str
    records: int
    hashed: int
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What is wrong."""
        return tuple(finding for finding in self.findings if finding.is_fault)


def check(study: Study, *, data: bool = True, progress: Progress | None = None) -> CheckReport:
    """Read every record, hash every checkpoint and artifact, and follow what refers to what.

    Nothing is written. All that is wrong is found, not the first of it.

    Parameters
    ----------
    data : whether to read the data set too, and to compare it with what the runs were trained on

    Raises
    ------
    StudyError : there is no such folder
    """
    if not study.root.is_dir():
        raise StudyError(f"{study.root} is not there: a study is a folder")
    checker = _Checker(study, progress)
    checker.runs()
    checker.artifacts()
    checker.flat()
    if data:
        checker.data()
    checker.leftovers()
    found = sorted(checker.findings, key=lambda finding: (finding.path, finding.what))
    return CheckReport(
        study=str(study.root), records=checker.records, hashed=checker.hashed, findings=tuple(found)
    )


class _Checker:
    """What has been found so far, and what the later checks need of the earlier ones."""

    def __init__(self, study: Study, progress: Progress | None) -> None:
        self._study, self._progress = study, progress
        self._task = None if progress is None else progress.add_task(f"check {study.root}", total=None)
        self.findings: list[Finding] = []
        self.records = self.hashed = 0
        self._models: dict[str, Model] = {}
        self._digests: set[str] = set()

    def runs(self) -> None:
        for folder in self._folders("runs"):
            name = folder.name
            kinds: dict[str, type[Record]] = {
                RUN: PinnRecord if name.startswith(PINN_RUNS) else RunRecord,
                ESTIMATE: EstimateRecord,
            }
            there = {file: kind for file, kind in kinds.items() if (folder / file).exists()}
            unfinished = (folder / RESUME).exists() or any(folder.glob(JOURNALS))
            if unfinished:
                self._add("note", folder, "holds an unfinished training: go on with `ptprof train`")
            elif not there:
                self._add("missing", folder / RUN, "is not there: nothing describes this run")
            for file, kind in there.items():
                record = self._read(folder / file, kind)
                if isinstance(record, ModelRecord | PinnRecord):
                    self._named(folder / file, record.run, name)
                    self._models[name] = record
                    self._digests.add(record.checkpoint_sha256)
                    self._hash(folder / CHECKPOINT, record.checkpoint_sha256, f"{name}/{file}")
            self._lines(folder / EPOCHS, PinnStage if name.startswith(PINN_RUNS) else Epoch)

    def artifacts(self) -> None:
        for folder in self._folders("artifacts"):
            path = folder / ARTIFACT
            if not path.exists():
                self._add("missing", path, "is not there: nothing describes these files")
                continue
            record = self._read(path, ArtifactRecord)
            if record is None:
                continue
            self._named(path, record.run, folder.name)
            run = self._models.get(folder.name)
            if self._lacks(folder.name):
                self._add("missing", self._study.run_folder(folder.name), "is not there, and was exported")
            elif run is not None and run.checkpoint_sha256 != record.checkpoint_sha256:
                self._add("broken", path, "is of another checkpoint than its run: export it again")
            for file in record.files:
                self._digests.add(file.sha256)
                self._hash(folder / file.name, file.sha256, f"{folder.name}/{ARTIFACT}")
            listed = {ARTIFACT, *(file.name for file in record.files)}
            for extra in sorted(p for p in folder.iterdir() if p.name not in listed and p.name[0] != "."):
                self._add("note", extra, f"is not listed in {ARTIFACT}")

    def flat(self) -> None:
        for folder, kind in FLAT.items():
            for path in sorted((self._study.root / folder).glob("*.json")):
                if path.name.startswith("."):
                    continue
                record = self._read(path, kind)
                if isinstance(record, Measurement):
                    self._measured(path, record)
                elif isinstance(record, PinnPoint):
                    self._named(path, record.run, path.stem)

    def data(self) -> None:
        study = self._study
        if (path := study.data / GENERATION).exists():
            self._read(path, GenerationRecord)
        if not study.data.is_dir() or not any(study.data.iterdir()):
            return
        trained = [run for run in self._models.values() if isinstance(run, RunRecord)]
        digests: dict[object, str] = {}
        for run in trained:
            try:
                selection = load_recipe(run.recipe).selection
                if selection not in digests:
                    digests[selection] = data_sha256(study.data, selection)
            except DataError as error:
                self._add("broken", study.data, str(error))
                return
            except PtprofError as error:
                self._add("broken", study.run_folder(run.run) / RUN, str(error))
                continue
            if digests[selection] != run.data_sha256:
                path = study.run_folder(run.run) / RUN
                self._add("note", path, "was trained on other data than lie in this study")

    def leftovers(self) -> None:
        for path in sorted(self._study.root.rglob(".*")):
            what = "is left of a process that was killed, unless one writes now: it can be removed"
            if not any(part.startswith(".") for part in path.relative_to(self._study.root).parts[:-1]):
                self._add("note", path, what)

    def _measured(self, path: Path, m: Measurement) -> None:
        run = self._models.get(m.run)
        if self._lacks(m.run):
            self._add("missing", self._study.run_folder(m.run), "is not there, and was measured")
        elif run is not None and run.model != m.model:
            self._add("broken", path, f"is of {m.model}, and its run {m.run} of {run.model}")
        elif m.artifact_sha256 not in self._digests:
            self._add("note", path, f"is of an export of {m.run} that is not here any more")

    def _lacks(self, run: str) -> bool:
        folder = self._study.run_folder(run)
        return not any((folder / name).exists() for name in (RUN, ESTIMATE))

    def _folders(self, name: str) -> list[Path]:
        return sorted(p for p in (self._study.root / name).glob("*") if p.is_dir() and p.name[0] != ".")

    def _read(self, path: Path, kind: type[R]) -> R | None:
        try:
            record = read_record(path, kind)
        except StudyError as error:
            self._add("broken", path, str(error).removeprefix(f"{path} "))
            return None
        self.records += 1
        self._advance()
        return record

    def _lines(self, path: Path, kind: type[Value]) -> None:
        if not path.exists():
            return
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            self._add("broken", path, f"cannot be read: {error.strerror}")
            return
        for number, line in enumerate(lines, start=1):
            try:
                kind.model_validate_json(line)
            except ValidationError as error:
                self._add("broken", path, f"line {number} is not a valid {kind.__name__}: {_first(error)}")
                return

    def _hash(self, path: Path, expected: str, where: str) -> None:
        try:
            found = sha256(path)
        except FileNotFoundError:
            self._add("missing", path, f"is not there, and {where} lists it")
            return
        except OSError as error:
            self._add("broken", path, f"cannot be read: {error.strerror}")
            return
        self.hashed += 1
        self._advance()
        if found != expected:
            self._add("broken", path, f"is not the file that {where} describes: its SHA-256 differs")

    def _named(self, path: Path, run: str, name: str) -> None:
        if run != name:
            self._add("broken", path, f"is of {run!r}, under the name {name!r}")

    def _add(self, kind: Literal["broken", "missing", "note"], path: Path, what: str) -> None:
        place = str(path.relative_to(self._study.root))
        finding = Finding(kind=kind, path=place, what=what)
        if finding not in self.findings:
            self.findings.append(finding)

    def _advance(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)


def _first(error: ValidationError) -> str:
    errors: Iterable[dict[str, object]] = error.errors()  # type: ignore[assignment]
    return str(next(iter(errors))["msg"])
