"""What is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ptprof.cli.export_options import (
    Channels,
    Checkpoint,
    Data,
    FilePrecision,
    Formats,
    Inputs,
    MaxBatch,
    Out,
    Own,
    OwnGrid,
    ProvenOn,
    ShowFile,
    Spectral,
    StaticBatch,
    Triton,
)
from ptprof.cli.options import AsJson, Force, Models, Nfe, Quiet, RecipeName, RunName, StudyOption
from ptprof.cli.shared import listed, show, study_of
from ptprof.errors import UsageError
from ptprof.progress import progress_bar

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import RenderableType

EXAMPLES = (
    "Examples: ptprof export fno --format onnx,torchscript,pt2; ptprof export fno unet --triton repository; "
    "ptprof export --model my_models.py:make --checkpoint best.pt --grid 64x128 --channels 3 --out exported; "
    "ptprof export --show exported/model.onnx"
)


def export(
    ctx: typer.Context,
    models: Models = None,
    formats: Formats = "onnx,torchscript",
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    spectral: Spectral = "auto",
    precision: FilePrecision = "fp32",
    batch: StaticBatch = None,
    device: ProvenOn = "cpu",
    data: Data = None,
    triton: Triton = None,
    max_batch: MaxBatch = 8,
    show_file: ShowFile = None,
    own: Own = None,
    checkpoint: Checkpoint = None,
    grid: OwnGrid = None,
    channels: Channels = None,
    inputs: Inputs = None,
    out: Out = None,
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Export trained models, each proven equal to what was trained; none named: all that are trained.

    With --model it is a model of your own, such as one with 2-D FNO, TFNO or UNO layers of neuraloperator.
    """
    of_own = (checkpoint, grid, channels, inputs, out)
    of_trained = (models, run, recipe, nfe, data, precision != "fp32")
    if show_file is not None:
        if own or triton or any((*of_own, *of_trained)):
            raise UsageError("--show tells about one file, and takes nothing beside --json")
        _show_contents(show_file, json)
        return
    if own is None and any(of_own):
        raise UsageError(
            "--checkpoint, --grid, --channels, --inputs and --out belong to --model module:factory"
        )
    if own is not None and any(of_trained):
        raise UsageError("--model takes no MODEL, --run, --recipe, --nfe, --data or --precision")

    from ptprof import choices, workflows
    from ptprof.export.triton import BACKENDS
    from ptprof.records import ArtifactFile, variant_of
    from ptprof.report import exports, tables

    if triton is not None:
        choices.chosen("format for Triton", listed(formats), tuple(BACKENDS))
    result: BaseModel | list[BaseModel]
    printed: list[RenderableType]
    exported: list[tuple[str, Path, tuple[ArtifactFile, ...]]]
    with progress_bar(not quiet) as bar:
        if own is not None:
            artifact, folder = workflows.export_own(
                own,
                checkpoint=checkpoint,
                grid=grid,
                channels=channels,
                inputs=inputs,
                formats=listed(formats),
                folder=out,
                spectral=spectral,
                batch=batch,
                device=device,
                force=force,
                progress=bar,
            )
            result, printed = artifact, [exports.module(artifact)]
            exported, variant = [(artifact.model, folder, artifact.files)], variant_of(batch=batch)
        else:
            where = study_of(ctx, study)
            # ptprof's own models keep few modes, of which products cost less.
            layers = "gemm" if spectral == "auto" else spectral
            artifacts = workflows.export(
                where,
                models,
                run=run,
                recipe=recipe,
                formats=listed(formats),
                nfe=nfe,
                spectral=layers,
                precision=precision,
                batch=batch,
                data=data,
                device=device,
                force=force,
                progress=bar,
            )
            result, printed = [*artifacts], [tables.parity(artifacts)]
            exported = [(a.model, where.artifact_folder(a.run), a.files) for a in artifacts]
            variant = variant_of(nfe=nfe, spectral=layers, precision=precision, batch=batch)
    if triton is not None:
        folders = workflows.write_repository(
            triton, exported, listed(formats), variant, max_batch=max_batch, force=force
        )
        printed.append(exports.repository(folders))
    show(result, json, printed)


def _show_contents(path: Path, json: bool) -> None:
    from ptprof.export.show import contents
    from ptprof.report import exports

    found = contents(path)
    show(found, json, [exports.contents(found)])
