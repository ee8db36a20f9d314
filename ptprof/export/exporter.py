"""From a run in the study to files in the study, each through the parity gate."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from rich.progress import Progress

from ptprof.environment import environment
from ptprof.errors import ExportError, RuntimeUnavailable, StudyError, UsageError
from ptprof.export import parity, reference
from ptprof.export.artifact import (
    FORMATS,
    POINTS,
    FormatName,
    deployable,
    inputs,
    known_format,
    trained,
    without_spectral_layers,
)
from ptprof.export.capture import tried
from ptprof.export.flops import flops_of_module
from ptprof.export.onnx import OPSET, write_onnx
from ptprof.export.pt2 import write_pt2
from ptprof.export.step import Deployable, DeployableStep
from ptprof.export.torchscript import write_torchscript
from ptprof.export.variant import ROUNDED, Variant
from ptprof.records import (
    ArtifactFile,
    ArtifactRecord,
    EstimateRecord,
    FilePrecision,
    Model,
    ModelRecord,
    Parity,
    PinnRecord,
    Spectral,
)
from ptprof.runtimes import open_runner
from ptprof.runtimes.device import resolve_device
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.pt2 import target
from ptprof.study import Study, atomic, now, sha256, write_record
from ptprof.train.burgers.reference import GRID_POINTS
from ptprof.train.recipe import OPERATORS, load_recipe

WINDOWS = 4
ROLLOUT_STEPS = 10
DIMENSIONLESS = "1"

DEFAULT_FORMATS: tuple[FormatName, ...] = ("onnx", "torchscript")
"""What needs nothing else, and runs elsewhere too."""

Comparison = parity.Reference | parity.MapReference

Writer = Callable[[Deployable, Metadata, Path], None]
WRITERS: dict[FormatName, Writer] = {"onnx": write_onnx, "torchscript": write_torchscript, "pt2": write_pt2}


def export(
    study: Study,
    run: Model,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    nfe: int | None = None,
    spectral: Spectral = "gemm",
    precision: FilePrecision = "fp32",
    batch: int | None = None,
    data: Path | None = None,
    device: str = "cpu",
    compared: Comparison | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ArtifactRecord:
    """Export ``run`` to each of ``formats``, and keep a file only if it computes what was trained.

    What is exported already from the same checkpoint and proven on the same device is left as it is, so that
    a stopped export goes on where it was. A file is written under another name, opened by its runtime,
    compared and renamed; after each, the record is written.

    Parameters
    ----------
    nfe, spectral, precision, batch : a variant, in files of its own; see `ptprof.records.variant_of`
    data : where the test windows are; None for the study's own data
    device : where the files are proven; a ``.pt2`` runs there only
    compared : what the files are compared with, where that was computed already: a `Job`'s reference
    force : export again what is there

    Raises
    ------
    UsageError : a format or a device that is not known, a variant that the model or a format cannot have
    RuntimeUnavailable : a device, an execution provider or a compiler that is not here
    ExportError : a step that a format cannot hold
    ParityError : an export that does not compute what was trained; what was there before stays
    StudyError, DataError : a run or test windows that cannot be used
    """
    wanted = [known_format(name) for name in formats]
    variant = Variant(nfe, spectral, precision, batch)
    for name in wanted:
        check(run, name, variant)
    job = Job(study, run, variant, data or study.data, resolve_device(device), compared)
    task = progress.add_task(f"export {run.model}", total=len(wanted)) if progress is not None else None
    record = _begin(study, run, force)
    for name in wanted:
        same = [file for file in record.files if (file.format, file.variant) == (name, variant.name)]
        if force or not any(file.parity.device == job.device for file in same):
            file = job.write(name)
            others = (kept for kept in record.files if kept not in same)
            files = tuple(sorted((*others, file), key=lambda f: (f.format, f.name)))
            record = record.model_copy(
                update={"files": files, "environment": environment(), "created": now()}
            )
            write_record(study.artifact_folder(run.run) / "artifact.json", record)
            _remove_unlisted(study.artifact_folder(run.run), record)
        if progress is not None and task is not None:
            progress.advance(task)
    return record


def check(run: Model, format: FormatName, variant: Variant) -> None:
    """Raise UsageError, in one line, for a variant of ``run`` that there cannot be in ``format``."""
    if variant.batch is not None and variant.batch < 1:
        raise UsageError(f"a batch holds 1 state or more, not {variant.batch}")
    if variant.precision == "bf16" and format not in ROUNDED:
        raise UsageError(
            "ONNX files hold fp32: OpenVINO runs the same file in bf16 (`ptprof profile --runtime openvino "
            "--precision bf16`); or take --format torchscript,pt2"
        )
    if variant.spectral == "fft":
        if run.model not in OPERATORS and not _of_a_plugin(run):
            raise without_spectral_layers(run)
        if format != "torchscript":
            raise UsageError(
                f"{format} cannot hold neuraloperator's Fourier transforms: --spectral fft is for torchscript"
            )


def _of_a_plugin(run: Model) -> bool:
    return isinstance(run, ModelRecord) and run.plugin is not None


def metadata(
    run: Model, step: Deployable, variant: Variant, native: dict[str, str] | None = None
) -> Metadata:
    """What a file that is exported from ``run`` as ``step`` says about itself.

    ``native`` is what it was compiled for, None where it runs anywhere.
    """
    about: dict[str, Any]
    if isinstance(run, PinnRecord):
        about = {"fields": (POINTS.output,), "signature": POINTS}
    else:
        about = {
            "fields": run.statistics.fields,
            "grid": run.grid,
            "history": run.history,
            "statistics": run.statistics,
            "time_step": load_recipe(run.recipe).data.dt,
        }
    if isinstance(step, DeployableStep) and step.sampler is not None:
        about |= {"sampler": step.sampler.name, "nfe": step.sampler.nfe}
    return Metadata(
        model=run.model,
        run=run.run,
        recipe=run.recipe,
        units=dict.fromkeys(about["fields"], DIMENSIONLESS),
        checkpoint_sha256=run.checkpoint_sha256,
        batch=variant.batch,
        spectral=variant.spectral,
        precision=variant.precision,
        parameters=run.parameters,
        flops=flops_of_module(_in_fp32(step), *step.example(1)).total,
        target=native,
        versions=environment().libraries,
        **about,
    )


def _in_fp32(step: Deployable) -> Deployable:
    """``step`` with the same weights, computing in fp32: rounding costs nothing that is counted."""
    plain = copy.copy(step)
    plain.precision = "fp32"
    return plain


@dataclass(frozen=True)
class Job:
    """One model in one variant, to be written to files that are proven on one device."""

    study: Study
    run: Model
    variant: Variant
    data: Path
    device: str
    compared: Comparison | None = None

    @classmethod
    def of(cls, study: Study, run: Model, *, spectral: Spectral = "gemm", device: str = "cpu") -> Self:
        """For the study's own data; ``device`` as torch spells it."""
        return cls(study, run, Variant(spectral=spectral), study.data, device)

    @cached_property
    def reference(self) -> Comparison:
        """What the trained model makes of the test's inputs.

        Neuraloperator's own transforms are compared on the device: they give something else on a GPU.
        """
        run = self.run
        if self.compared is not None:
            return self.compared
        if isinstance(run, PinnRecord):
            return reference.of_map(
                trained(self.study, run), inputs(self.data, run, GRID_POINTS), POINTS.output
            )
        model = trained(self.study, run, self.variant.nfe, "fft")
        place = self.device if self.variant.spectral == "fft" else "cpu"
        states = inputs(self.data, run, WINDOWS)
        return reference.of_forecaster(model, states, run.statistics, steps=ROLLOUT_STEPS, device=place)

    @cached_property
    def device_difference(self) -> float | None:
        """Of the trained model itself, between the CPU and the device."""
        if isinstance(self.run, PinnRecord):
            return None
        model = trained(self.study, self.run, self.variant.nfe, "fft")
        states = inputs(self.data, self.run, WINDOWS)
        return reference.device_difference(model, states, self.run.statistics, self.device)

    def write(self, name: FormatName) -> ArtifactFile:
        """Write one file, through the gate."""
        kind, variant = FORMATS[name], self.variant
        path = self.study.artifact_folder(self.run.run) / kind.file(variant.name)
        expected = self.reference
        try:
            step = deployable(self.study, self.run, variant.nfe, variant.spectral, variant.precision)
            native = target(self.device) if name == "pt2" else None
            with atomic(path) as temporary:
                WRITERS[name](step, metadata(self.run, step, variant, native), temporary)
                measured = self._through_the_gate(kind.runtime, temporary, expected)
                digest, size = sha256(temporary), temporary.stat().st_size
        except (ExportError, RuntimeUnavailable) as error:
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # where nothing else is in it
            raise type(error)(f"{self.run.run} as {name}: {error}") from error
        return ArtifactFile(
            name=path.name,
            format=name,
            precision=variant.precision,
            variant=variant.name,
            sha256=digest,
            size_bytes=size,
            opset=OPSET if name == "onnx" else None,
            parity=measured,
        )

    def _through_the_gate(self, runtime: str, path: Path, expected: Comparison) -> Parity:
        precision = self.variant.precision
        with tried(), open_runner(runtime, path, device=self.device, precision=precision) as runner:
            measured = expected.compare(runner, precision)
        parity.gate(measured)
        synthetic = isinstance(self.run, EstimateRecord)
        return measured.model_copy(
            update={"synthetic": synthetic, "device_difference": self.device_difference}
        )


def _begin(study: Study, run: Model, force: bool) -> ArtifactRecord:
    """The record to go on with: what there is of this checkpoint and is whole, or an empty one."""
    of_states = None if isinstance(run, PinnRecord) else run
    new = ArtifactRecord(
        run=run.run,
        model=run.model,
        recipe=run.recipe,
        grid=of_states and of_states.grid,
        history=of_states and of_states.history,
        statistics=of_states and of_states.statistics,
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
