"""What is deployed."""

from __future__ import annotations

from typing import Annotated

import typer

from ptprof.cli.options import AsJson, Force, Models, Nfe, Quiet, RecipeName, RunName, StudyOption
from ptprof.cli.shared import listed, show, study_of
from ptprof.progress import progress_bar


def export(
    ctx: typer.Context,
    models: Models = None,
    formats: Annotated[
        str, typer.Option("--format", help="Comma-separated: onnx, torchscript.")
    ] = "onnx,torchscript",
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Export trained models, each proven equal to what was trained; none named: all that are trained."""
    from ptprof import workflows
    from ptprof.report import tables

    with progress_bar(not quiet) as bar:
        artifacts = workflows.export(
            study_of(ctx, study),
            models,
            run=run,
            recipe=recipe,
            formats=listed(formats),
            nfe=nfe,
            force=force,
            progress=bar,
        )
    show(artifacts, json, [tables.parity(artifacts)])
