"""From a run in the study to files in the study, each through the parity gate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import Progress

from ptprof.environment import environment
from ptprof.errors import ExportError, StudyError
from ptprof.export import parity
from ptprof.export.artifact import FORMATS, FormatName, deployable, known_format, trained, windows
from ptprof.export.onnx import OPSET, write_onnx
from ptprof.export.step import DeployableStep
from ptprof.export.torchscript import write_torchscript
from ptprof.records import ArtifactFile, ArtifactRecord, EstimateRecord, ModelRecord, Parity, variant_of
from ptprof.runtimes import open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.study import Study, atomic, now, sha256, write_record
from ptprof.train.models.flow_matching import Sampler

WINDOWS = 4
ROLLOUT_STEPS = 10
DIMENSIONLESS = "1"

Writer = Callable[[DeployableStep, Metadata, Path], None]
WRITERS: dict[FormatName, Writer] = {"onnx": write_onnx, "torchscript": write_torchscript}


def export(
    study: Study,
    run: ModelRecord,
    formats: Sequence[str] = tuple(FORMATS),
    *,
    nfe: int | None = None,
    data: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ArtifactRecord:
    """Export ``run`` to each of ``formats``, and keep a file only if it computes what was trained.

    What is exported already from the same checkpoint is left as it is, so that a stopped export goes on
    where it was. A file is written under another name, opened by its runtime, compared and renamed;
    after each, the record is written.

    Parameters
    ----------
    nfe : how often a model that samples evaluates its network; a variant, in files of its own, where given
    data : where the test windows are; None for the study's own data
    force : export again what is there

    Raises
    ------
    UsageError : a format that is not known, or an ``nfe`` that the model cannot have
    ExportError : a step that a format cannot hold
    ParityError : an export that does not compute what was trained; what was there before stays
    StudyError, DataError : a run or test windows that cannot be used
    """
    wanted = [known_format(name) for name in formats]
    variant = variant_of(nfe)
    task = progress.add_task(f"export {run.model}", total=len(wanted)) if progress is not None else None
    record = _begin(study, run, force)
    reference: parity.Reference | None = None
    for name in wanted:
        there = [file for file in record.files if (file.format, file.variant) == (name, variant)]
        if force or not there:
            step = deployable(study, run, nfe)
            reference = reference or _reference(study, run, nfe, data or study.data)
            file = _write(study, run, name, variant, step, reference)
            others = (kept for kept in record.files if kept not in there)
            files = tuple(sorted((*others, file), key=lambda f: (f.format, f.name)))
            record = record.model_copy(
                update={"files": files, "environment": environment(), "created": now()}
            )
            write_record(study.artifact_folder(run.run) / "artifact.json", record)
            _remove_unlisted(study.artifact_folder(run.run), record)
        if progress is not None and task is not None:
            progress.advance(task)
    return record


def metadata(run: ModelRecord, sampler: Sampler | None = None) -> Metadata:
    """What a file exported from ``run`` says about itself; ``sampler`` is its step's."""
    return Metadata(
        model=run.model,
        run=run.run,
        recipe=run.recipe,
        grid=run.grid,
        history=run.history,
        fields=run.statistics.fields,
        units=dict.fromkeys(run.statistics.fields, DIMENSIONLESS),
        statistics=run.statistics,
        checkpoint_sha256=run.checkpoint_sha256,
        sampler=None if sampler is None else sampler.name,
        nfe=None if sampler is None else sampler.nfe,
        versions=environment().libraries,
    )


def _begin(study: Study, run: ModelRecord, force: bool) -> ArtifactRecord:
    """The record to go on with: what there is of this checkpoint and is whole, or an empty one."""
    new = ArtifactRecord(
        run=run.run,
        model=run.model,
        recipe=run.recipe,
        grid=run.grid,
        history=run.history,
        statistics=run.statistics,
        checkpoint_sha256=run.checkpoint_sha256,
        files=(),
        environment=environment(),
        created=now(),
    )
    try:
        found = study.artifact(run.run)
    except StudyError:
        if not force:
            raise
        found = None
    if found is None or found.checkpoint_sha256 != run.checkpoint_sha256:
        return new
    folder = study.artifact_folder(run.run)
    whole = tuple(
        f for f in found.files if (folder / f.name).exists() and sha256(folder / f.name) == f.sha256
    )
    return found.model_copy(update={"files": whole})


def _remove_unlisted(folder: Path, record: ArtifactRecord) -> None:
    """Remove files of an earlier checkpoint, which nothing describes any more."""
    listed = {file.name for file in record.files}
    for kind in FORMATS.values():
        for path in folder.glob(f"model*{kind.suffix}"):
            if path.name not in listed:
                path.unlink()


def _reference(study: Study, run: ModelRecord, nfe: int | None, folder: Path) -> parity.Reference:
    states = windows(folder, run, WINDOWS)
    model = trained(study, run, nfe, spectral="fft")
    return parity.reference(model, states, run.statistics, steps=ROLLOUT_STEPS)


def _write(
    study: Study,
    run: ModelRecord,
    name: FormatName,
    variant: str,
    step: DeployableStep,
    reference: parity.Reference,
) -> ArtifactFile:
    """Write one file, through the gate."""
    kind = FORMATS[name]
    path = study.artifact_folder(run.run) / kind.file(variant)
    try:
        with atomic(path) as temporary:
            WRITERS[name](step, metadata(run, step.sampler), temporary)
            measured = _through_the_gate(kind.runtime, temporary, reference)
            digest, size = sha256(temporary), temporary.stat().st_size
    except ExportError as error:
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # where nothing else is in it
        raise type(error)(f"{run.run} as {name}: {error}") from error
    return ArtifactFile(
        name=path.name,
        format=name,
        variant=variant,
        sha256=digest,
        size_bytes=size,
        opset=OPSET if name == "onnx" else None,
        parity=measured.model_copy(update={"synthetic": isinstance(run, EstimateRecord)}),
    )


def _through_the_gate(runtime: str, path: Path, reference: parity.Reference) -> Parity:
    with open_runner(runtime, path) as runner:
        measured = reference.compare(runner)
    parity.gate(measured)
    return measured
