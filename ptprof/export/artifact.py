"""What there is of a run to be deployed: the model itself, and the files that it was exported to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ptprof.errors import DataError, StudyError, UsageError, unknown
from ptprof.export.lowering import lower
from ptprof.export.step import Deployable, DeployableMap, DeployableStep
from ptprof.export.variant import Variant, read_by
from ptprof.records import (
    ArtifactFile,
    EstimateRecord,
    FilePrecision,
    Model,
    ModelRecord,
    PinnRecord,
    Spectral,
    Statistics,
)
from ptprof.runtimes import Runner, format_of, open_runner
from ptprof.runtimes.metadata import Signature
from ptprof.study import Study, sha256
from ptprof.train import burgers, load
from ptprof.train import data as data_room
from ptprof.train.burgers import reference as burgers_reference
from ptprof.train.data import synthetic
from ptprof.train.models.flow_matching import sampled_by
from ptprof.train.models.spectral import freeze
from ptprof.train.recipe import load_recipe

FormatName = Literal["onnx", "torchscript", "pt2"]

POINTS = Signature(input="points", takes=(2,), output="u", gives=(1,))
"""What a PINN takes, (x, t), and gives."""


class Format(NamedTuple):
    """A kind of file: how its name ends, and the runtime that proves it."""

    suffix: str
    runtime: str

    def file(self, variant: str = "") -> str:
        """The name of a file in the artifact; the default variant has no name."""
        return f"model-{variant}{self.suffix}" if variant else f"model{self.suffix}"


FORMATS: dict[FormatName, Format] = {
    "onnx": Format(".onnx", "onnxruntime"),
    "torchscript": Format(".pt", "torchscript"),
    "pt2": Format(".pt2", "pt2"),
}


def known_format(name: str) -> FormatName:
    """The format called ``name``; raises UsageError for one that is not known."""
    for known in FORMATS:
        if known == name:
            return known
    raise unknown("format", name, FORMATS)


def deployable(
    study: Study,
    run: Model,
    nfe: int | None = None,
    spectral: Spectral = "gemm",
    precision: FilePrecision = "fp32",
) -> Deployable:
    """What is exported of ``run``, with its trained weights on the CPU: a forecast step, or a PINN's network.

    Parameters
    ----------
    nfe : how often a model that samples evaluates its network; as its recipe says unless given
    spectral : how the spectral layers compute
    precision : of products and convolutions; `DeployableStep`

    Raises
    ------
    UsageError : an ``nfe`` for a model that does not sample, or one that its sampler cannot have
    StudyError : a checkpoint that is missing or not the one that ``run`` describes
    """
    model = trained(study, run, nfe, spectral)
    if isinstance(run, PinnRecord):
        return DeployableMap(model.float(), POINTS, precision).eval()
    if spectral == "fft" or run.plugin is not None:
        window = torch.zeros(1, run.history * len(run.statistics.fields), *run.grid)
        model = lower(model, window, spectral=spectral)
        if spectral == "fft" and not any(weight.is_complex() for weight in model.parameters()):
            raise without_spectral_layers(run)
    else:
        model = freeze(model, run.grid)
    return DeployableStep(model, run.statistics, run.history, run.grid, precision).eval()


def without_spectral_layers(run: Model) -> UsageError:
    """The error for a model that has no Fourier transforms, where they are asked for."""
    return UsageError(f"{run.model} has no spectral layers: leave out --spectral fft")


def trained(study: Study, run: Model, nfe: int | None = None, spectral: Spectral = "gemm") -> nn.Module:
    """The model of ``run`` as it was trained, on the CPU; arguments and errors as for `deployable`."""
    model: nn.Module = burgers.load(study, run) if isinstance(run, PinnRecord) else load(study, run, spectral)
    return model if nfe is None else sampled_by(model, nfe)


def open_model(
    study: Study,
    run: Model,
    runtime: str,
    *,
    nfe: int | None = None,
    spectral: Spectral = "gemm",
    precision: str = "fp32",
    tf32: bool = False,
    batch: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Runner:
    """``run`` on ``runtime``: the model itself, or the file it was exported to once that is proven to be it.

    ``nfe``, ``spectral``, ``precision`` and ``batch`` name the export that is meant, the default one unless
    they are given; see `ptprof.export.variant.read_by`. The others are `ptprof.runtimes.open_runner`'s.

    Raises
    ------
    UsageError : a runtime that is not known
    StudyError : nothing exported, a file that was changed or cut, one that is not ptprof's or of another run
    RuntimeUnavailable : a runtime, device, execution provider or precision that is not here
    """
    meant = read_by(runtime, nfe=nfe, spectral=spectral, precision=precision, batch=batch)
    if format_of(runtime) is None:
        module = deployable(study, run, nfe, spectral)
        return open_runner(runtime, module, device=device, threads=threads, precision=precision, tf32=tf32)
    file = listed(study, run, runtime, meant)
    remedy = f"export it again with `{meant.command(run.model, file.format)} --force`"
    path = study.artifact_folder(run.run) / file.name
    if not path.exists():
        raise StudyError(f"{path} is not there: {remedy}")
    size = path.stat().st_size
    if size < file.size_bytes:
        raise StudyError(f"{path} is cut: {size} of {file.size_bytes} bytes; {remedy}")
    if sha256(path) != file.sha256:
        raise StudyError(f"{path} is not the file that artifact.json describes: {remedy}")
    runner = open_runner(runtime, path, device=device, threads=threads, precision=precision, tf32=tf32)
    try:
        _verify(runner, run, path, remedy)
    except StudyError:
        runner.close()
        raise
    return runner


def source_sha256(
    study: Study,
    run: Model,
    runtime: str,
    *,
    nfe: int | None = None,
    spectral: Spectral = "gemm",
    precision: str = "fp32",
    batch: int | None = None,
) -> str:
    """The hash of what ``runtime`` runs: the exported file, or the checkpoint where it takes the module.

    Raises
    ------
    UsageError, StudyError, RuntimeUnavailable : as `open_model`, but that files are not opened
    """
    meant = read_by(runtime, nfe=nfe, spectral=spectral, precision=precision, batch=batch)
    if format_of(runtime) is None:
        return run.checkpoint_sha256
    return listed(study, run, runtime, meant).sha256


def listed(study: Study, run: Model, runtime: str, variant: Variant) -> ArtifactFile:
    """The file that ``runtime`` reads, as artifact.json lists it.

    Raises
    ------
    StudyError : not exported, or from an earlier training
    """
    format = format_of(runtime)
    if format is None:
        raise UsageError(f"{runtime} runs a module and reads no file")
    command = variant.command(run.model, format)
    record = study.artifact(run.run)
    files = record.files if record is not None else ()
    file = next((f for f in files if (f.format, f.variant) == (format, variant.name)), None)
    if record is None or file is None:
        raise StudyError(f"{run.run} is not exported to {format}: `{command}`")
    if record.checkpoint_sha256 != run.checkpoint_sha256:
        raise StudyError(f"{run.run} was trained again after it was exported: run `{command} --force`")
    return file


def inputs(folder: Path, run: Model, count: int) -> Tensor:
    """What ``run`` is asked on the CPU, up to ``count`` of it: windows of the test split at ``folder``
    ``(N, h, C, X, Y)``, physical units; of a PINN points of Burgers' grid ``(N, 2)``.

    Raises
    ------
    DataError : no test data there, or of other fields or another grid than the run's
    """
    if not isinstance(run, PinnRecord):
        return windows(folder, run, count)
    points, _ = burgers_reference.grid()
    count = min(count, len(points))
    chosen = [index * len(points) // count for index in range(count)]
    return torch.tensor(points[chosen], dtype=torch.float32)


def windows(folder: Path, run: ModelRecord, count: int) -> Tensor:
    """``count`` windows spread evenly over the test split at ``folder``: ``(N, h, C, X, Y)``, physical units.

    Of an estimate they are synthetic: untrained weights forecast nothing, and need no data.

    Raises
    ------
    DataError : no test data there, or of other fields or another grid than the run's
    """
    if isinstance(run, EstimateRecord):
        return synthetic.windows(count, run.history, run.grid, run.statistics)
    fields = run.statistics.fields
    as_they_are = Statistics(fields=fields, mean=(0.0,) * len(fields), std=(1.0,) * len(fields))
    split = data_room.Windows(
        folder,
        "test",
        run.history,
        settings=load_recipe(run.recipe).selection,
        statistics=as_they_are,
        preload=False,
    )
    if tuple(split.grid) != run.grid or tuple(split.fields) != fields:
        raise DataError(
            f"{folder} holds {', '.join(split.fields)} on {_times(split.grid)}, but {run.run} was trained on "
            f"{', '.join(fields)} on {_times(run.grid)}: name the data that it was trained on"
        )
    count = min(count, len(split))
    chosen = [split[index * len(split) // count][0] for index in range(count)]
    return torch.stack(chosen).view(-1, run.history, len(fields), *run.grid)


def _verify(runner: Runner, run: Model, path: Path, remedy: str) -> None:
    """Check what the file says about itself against the run; StudyError where it is another's."""
    said = runner.metadata
    if said is None:
        raise StudyError(f"{path} is not ptprof's: it says nothing of where it comes from; {remedy}")
    if isinstance(run, ModelRecord) and said.grid != run.grid:
        grid = "no grid" if said.grid is None else f"a grid of {_times(said.grid)}"
        raise StudyError(f"{path} is for {grid}, not {_times(run.grid)}: {remedy}")
    if said.checkpoint_sha256 != run.checkpoint_sha256:
        raise StudyError(f"{path} was exported from another checkpoint, of {said.run}: {remedy}")


def _times(grid: Sequence[int]) -> str:
    return "×".join(str(side) for side in grid)
