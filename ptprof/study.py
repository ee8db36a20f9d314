"""The study folder: where everything lies, and writing that loses nothing."""

from __future__ import annotations

import datetime
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ptprof.errors import StudyError, unknown
from ptprof.records import (
    ArtifactRecord,
    EstimateRecord,
    GenerationRecord,
    Measurement,
    Model,
    ModelRecord,
    PinnRecord,
    Record,
    RunRecord,
)

R = TypeVar("R", bound=Record)

GENERATION = "generation.json"
"""Beside the statistics of a data set that ptprof simulated: what that took."""

PINN_RUNS = "burgers-"
"""What the names of the PINNs' runs begin with: they have a record of their own."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; when the block ends well, sync it and rename it there.

    If the block raises, the temporary file goes and what stood at ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_of(record: Record) -> str:
    """A record as the text of its file."""
    return record.model_dump_json(indent=1) + "\n"


def write_record(path: Path, record: Record) -> None:
    """Write a record as JSON to ``path``, whole or not at all."""
    write_text(path, json_of(record))


def measurement_name(measurement: Measurement) -> str:
    """The name of a measurement's file: what was measured, and a hash of it all."""
    digest = hashlib.sha256(measurement.model_dump_json().encode()).hexdigest()[:8]
    m = measurement
    return f"{m.run}-{m.runtime}-{m.device.replace(':', '')}-{m.scenario}-b{m.batch}-{digest}.json"


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record of ``kind``; raises StudyError that names the file and its first fault."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise StudyError(f"{path} is not there") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise StudyError(f"{path} is not a valid {kind.__name__}: {place}: {first['msg']}") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Study:
    """A folder that holds data, runs, artifacts, measurements and reports."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def data(self) -> Path:
        """The shear-flow data set in The Well's layout."""
        return self.root / "data" / "shear_flow"

    def generation(self) -> GenerationRecord | None:
        """What simulating the data took; None where that was not metered."""
        path = self.data / GENERATION
        return read_record(path, GenerationRecord) if path.exists() else None

    @property
    def report(self) -> Path:
        return self.root / "report"

    def run_folder(self, run: str) -> Path:
        return self.root / "runs" / run

    def artifact_folder(self, run: str) -> Path:
        return self.root / "artifacts" / run

    def runs(self, model: str | None = None, recipe: str | None = None) -> list[RunRecord]:
        """The finished runs of forecasters, oldest first; of one model or recipe where named."""
        records = self._records("runs/*/run.json", RunRecord, _not_of_a_pinn)
        chosen = (r for r in records if model in (None, r.model) and recipe in (None, r.recipe))
        return sorted(chosen, key=lambda r: (r.created, r.run))

    def pinns(self) -> list[PinnRecord]:
        """The finished runs of the PINNs, oldest first."""
        records = self._records(f"runs/{PINN_RUNS}*/run.json", PinnRecord)
        return sorted(records, key=lambda r: (r.created, r.run))

    def pinn(self, model: str, recipe: str | None = None) -> PinnRecord:
        """The newest run of the PINN ``model``, of ``recipe`` where named; StudyError where there is none."""
        runs = [r for r in self.pinns() if r.model == model and recipe in (None, r.recipe)]
        if not runs:
            words = f"ptprof train {model}" + (f" --recipe {recipe}" if recipe else "")
            raise StudyError(f"{self.root} holds no trained {model!r}: train it with `{words}`")
        return runs[-1]

    def run(self, model: str, run: str | None = None) -> RunRecord:
        """The newest run of ``model``, or the one named ``run``; StudyError where there is none."""
        runs = [r for r in self.runs(model) if run is None or r.run == run]
        if not runs:
            wanted = f"run {run!r} of {model!r}" if run else f"trained {model!r}"
            raise StudyError(f"{self.root} holds no {wanted}: train it with `ptprof train {model}`")
        return runs[-1]

    def estimates(self) -> list[EstimateRecord]:
        """The models of which the cost of training was projected, oldest first."""
        records = self._records("runs/*/estimate.json", EstimateRecord)
        return sorted(records, key=lambda r: (r.created, r.run))

    def models(self, recipe: str | None = None) -> list[ModelRecord]:
        """What has weights, oldest first: the finished runs, and the estimates of what no run has trained.

        An estimate gives way to a run of the same model by the same recipe, whichever is newer.
        """
        runs = self.runs()
        trained = {(run.model, run.recipe) for run in runs}
        estimates = (e for e in self.estimates() if (e.model, e.recipe) not in trained)
        chosen = (r for r in (*runs, *estimates) if recipe in (None, r.recipe))
        return sorted(chosen, key=lambda r: (r.created, r.run))

    def newest(
        self, models: Sequence[str] | None = None, recipe: str | None = None
    ) -> dict[str, ModelRecord]:
        """The newest of `models` of each model; of those named, where any are.

        Raises
        ------
        StudyError : one that is named is not there, or nothing is
        """
        found = {record.model: record for record in self.models(recipe)}
        missing = [model for model in models or () if model not in found]
        if missing or not found:
            words = ["ptprof train", *missing[:1], *([f"--recipe {recipe}"] if recipe else [])]
            what = " ".join(["trained", missing[0] if missing else "model"])
            by_recipe = f" of recipe {recipe}" if recipe else ""
            raise StudyError(f"{self.root} holds no {what}{by_recipe}: begin with `{' '.join(words)}`")
        return {model: found[model] for model in models or found}

    def named(self, run: str) -> ModelRecord:
        """The run or the estimate called ``run``; UsageError where there is none."""
        records = {record.run: record for record in (*self.estimates(), *self.runs())}
        if run not in records:
            raise unknown("run", run, records)
        return records[run]

    def deployable(self, run: str) -> Model:
        """As `named`, or the PINN called ``run``."""
        pinns = {record.run: record for record in self.pinns()}
        return pinns[run] if run in pinns else self.named(run)

    def artifact(self, run: str) -> ArtifactRecord | None:
        """What was exported from ``run``; None where nothing was."""
        path = self.artifact_folder(run) / "artifact.json"
        return read_record(path, ArtifactRecord) if path.exists() else None

    def artifacts(self) -> list[ArtifactRecord]:
        """All artifacts, oldest first."""
        return sorted(
            self._records("artifacts/*/artifact.json", ArtifactRecord), key=lambda a: (a.created, a.run)
        )

    def measurements(self, keep: Callable[[Measurement], bool] = lambda _: True) -> list[Measurement]:
        """All measurements that ``keep`` takes, oldest first."""
        records = self._records("measurements/*.json", Measurement)
        return sorted(filter(keep, records), key=lambda m: m.created)

    def add_measurement(self, measurement: Measurement) -> Path:
        """Write a measurement as a file of its own, with `measurement_name`."""
        path = self.root / "measurements" / measurement_name(measurement)
        write_record(path, measurement)
        return path

    def _records(self, pattern: str, kind: type[R], keep: Callable[[Path], bool] = lambda _: True) -> list[R]:
        paths = sorted(p for p in self.root.glob(pattern) if not p.name.startswith("."))
        return [read_record(path, kind) for path in paths if keep(path)]


def _not_of_a_pinn(path: Path) -> bool:
    return not path.parent.name.startswith(PINN_RUNS)
