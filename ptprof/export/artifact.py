"""What there is of a run to be deployed: the step itself, and the files that it was exported to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ptprof.errors import DataError, StudyError, unknown
from ptprof.export.step import DeployableStep
from ptprof.records import EstimateRecord, ModelRecord, Statistics, variant_of
from ptprof.runtimes import Runner, open_runner
from ptprof.study import Study, sha256
from ptprof.train import data as data_room
from ptprof.train import load
from ptprof.train.data import synthetic
from ptprof.train.models.flow_matching import sampled_by
from ptprof.train.models.spectral import freeze
from ptprof.train.recipe import load_recipe

FormatName = Literal["onnx", "torchscript"]


class Format(NamedTuple):
    """A kind of file: how its name ends, and the runtime that opens it."""

    suffix: str
    runtime: str

    def file(self, variant: str = "") -> str:
        """The name of a file in the artifact; the default variant has no name."""
        return f"model-{variant}{self.suffix}" if variant else f"model{self.suffix}"


FORMATS: dict[FormatName, Format] = {
    "onnx": Format(".onnx", "onnxruntime"),
    "torchscript": Format(".pt", "torchscript"),
}


def known_format(name: str) -> FormatName:
    """The format called ``name``; raises UsageError for one that is not known."""
    for known in FORMATS:
        if known == name:
            return known
    raise unknown("format", name, FORMATS)


def deployable(study: Study, run: ModelRecord, nfe: int | None = None) -> DeployableStep:
    """The step of ``run`` with its trained weights, on the CPU: what is exported, and what runs eagerly.

    Parameters
    ----------
    nfe : how often a model that samples evaluates its network; as its recipe says unless given

    Raises
    ------
    UsageError : an ``nfe`` for a model that does not sample, or one that its sampler cannot have
    StudyError : a checkpoint that is missing or not the one that ``run`` describes
    """
    model = freeze(trained(study, run, nfe), run.grid)
    return DeployableStep(model, run.statistics, run.history, run.grid).eval()


def trained(study: Study, run: ModelRecord, nfe: int | None = None, spectral: str = "gemm") -> nn.Module:
    """The model of ``run`` as `ptprof.train.load` gives it; ``nfe`` and errors as for `deployable`."""
    model = load(study, run, spectral)
    return model if nfe is None else sampled_by(model, nfe)


def open_artifact(
    study: Study,
    run: ModelRecord,
    format: str,
    *,
    nfe: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Runner:
    """A runner of what ``run`` was exported to as ``format``, once the file is proven to be that.

    ``nfe`` names the export with so many evaluations; the default one for None.

    Raises
    ------
    UsageError : a format that is not known
    StudyError : nothing exported, a file that was changed or cut, one that is not ptprof's or of another run
    RuntimeUnavailable : a device or an execution provider that is not here
    """
    kind = FORMATS[known_format(format)]
    command = f"ptprof export {run.model} --format {format}" + ("" if nfe is None else f" --nfe {nfe}")
    remedy = f"export it again with `{command} --force`"
    record = study.artifact(run.run)
    files = record.files if record is not None else ()
    file = next((f for f in files if (f.format, f.variant) == (format, variant_of(nfe))), None)
    if record is None or file is None:
        raise StudyError(f"{run.run} is not exported to {format}: `{command}`")
    if record.checkpoint_sha256 != run.checkpoint_sha256:
        raise StudyError(f"{run.run} was trained again after it was exported: {remedy}")
    path = study.artifact_folder(run.run) / file.name
    if not path.exists():
        raise StudyError(f"{path} is not there: {remedy}")
    size = path.stat().st_size
    if size < file.size_bytes:
        raise StudyError(f"{path} is cut: {size} of {file.size_bytes} bytes; {remedy}")
    if sha256(path) != file.sha256:
        raise StudyError(f"{path} is not the file that artifact.json describes: {remedy}")
    runner = open_runner(kind.runtime, path, device=device, threads=threads)
    try:
        _verify(runner, run, path, remedy)
    except StudyError:
        runner.close()
        raise
    return runner


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


def _verify(runner: Runner, run: ModelRecord, path: Path, remedy: str) -> None:
    """Check what the file says about itself against the run; StudyError where it is another's."""
    said = runner.metadata
    if said is None:
        raise StudyError(f"{path} is not ptprof's: it says nothing of where it comes from; {remedy}")
    if said.grid != run.grid:
        raise StudyError(f"{path} is for a grid of {_times(said.grid)}, not {_times(run.grid)}: {remedy}")
    if said.checkpoint_sha256 != run.checkpoint_sha256:
        raise StudyError(f"{path} was exported from another checkpoint, of {said.run}: {remedy}")


def _times(grid: Sequence[int]) -> str:
    return "×".join(str(side) for side in grid)
