"""What a query takes."""

from __future__ import annotations

from typing import Annotated

import typer

from ptprof.cli.options import (
    AsJson,
    Batch,
    Device,
    Force,
    Models,
    Nfe,
    Quiet,
    RecipeName,
    RunName,
    StudyOption,
    Watts,
)
from ptprof.cli.shared import listed, show, study_of
from ptprof.progress import progress_bar


def profile(
    ctx: typer.Context,
    models: Models = None,
    runtime: Annotated[
        str, typer.Option(help="Comma-separated: eager, torchscript, onnxruntime; or all.")
    ] = "all",
    scenario: Annotated[str, typer.Option(help="Comma-separated: one-step, rollout; or all.")] = "all",
    device: Device = "auto",
    batch: Batch = 1,
    steps: Annotated[int, typer.Option(min=1, help="Length of a rollout.")] = 10,
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    watts: Watts = None,
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Measure latency, throughput, memory and energy per query by the quick protocol. Stopped, it goes on."""
    from ptprof import workflows
    from ptprof.report import tables

    with progress_bar(not quiet) as bar:
        measurements = workflows.profile(
            study_of(ctx, study),
            models,
            run=run,
            recipe=recipe,
            runtimes=listed(runtime),
            scenarios=listed(scenario),
            device=device,
            batch=batch,
            steps=steps,
            nfe=nfe,
            watts_per_core=watts,
            force=force,
            progress=bar,
        )
    show(measurements, json, [tables.measurements(measurements)])
