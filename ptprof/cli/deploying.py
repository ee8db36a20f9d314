"""What is deployed, what a query costs, and the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptprof.cli.options import (
    DEFAULT_QUERIES,
    AsJson,
    Batch,
    Device,
    Force,
    Intensity,
    Models,
    Nfe,
    Pue,
    Queries,
    Quiet,
    RecipeName,
    RunName,
    StudyOption,
    Watts,
)
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


def amortise(
    ctx: typer.Context,
    models: Models = None,
    queries: Queries = None,
    table: Annotated[
        Path | None,
        typer.Option(help="CSV of costs measured elsewhere, instead of a study.", show_default=False),
    ] = None,
    scenario: Annotated[str, typer.Option(help="What a query is: one-step or rollout.")] = "one-step",
    device: Annotated[str | None, typer.Option(help="Device measured on.", show_default=False)] = None,
    runtime: Annotated[str | None, typer.Option(help="The cheapest otherwise.", show_default=False)] = None,
    batch: Batch = 1,
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    intensity: Intensity = 445.0,
    pue: Pue = 1.0,
    figure: Annotated[
        Path | None,
        typer.Option(help="Also draw cost against queries: .png, .svg or .pdf.", show_default=False),
    ] = None,
    json: AsJson = False,
    study: StudyOption = None,
) -> None:
    """Training spread over a number of queries: totals, cost per query, break-even points."""
    from ptprof import workflows
    from ptprof.report import tables

    report = workflows.amortise(
        study_of(ctx, study),
        queries=queries or DEFAULT_QUERIES,
        table=table,
        models=models,
        scenario=scenario,
        device=device,
        runtime=runtime,
        batch=batch,
        run=run,
        recipe=recipe,
        precision=precision,
        nfe=nfe,
        intensity_g_per_kwh=intensity,
        pue=pue,
        figure=figure,
    )
    show(report, json, [tables.amortisation(report)])
