"""The answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptprof.cli.options import (
    DEFAULT_QUERIES,
    AsJson,
    Batch,
    Intensity,
    Models,
    Nfe,
    Pue,
    Queries,
    RecipeName,
    RunName,
    StudyOption,
)
from ptprof.cli.shared import show, study_of


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
