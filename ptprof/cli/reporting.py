"""The report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptprof.cli.options import (
    DEFAULT_QUERIES,
    AsJson,
    Batch,
    GridIntensity,
    Models,
    Nfe,
    Overhead,
    Queries,
    RecipeName,
    RunName,
    StudyOption,
)
from ptprof.cli.shared import show, study_of


def report(
    ctx: typer.Context,
    models: Models = None,
    queries: Queries = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder; the study's `report` otherwise.", show_default=False)
    ] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Also every figure as SVG and PNG.")] = False,
    location: Annotated[
        str | None,
        typer.Option(help="Where the trainings were made, for the model cards.", show_default=False),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="CSV of costs measured elsewhere, instead of a study.", show_default=False),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Table 2 of the paper that ptprof implements, instead of a study.")
    ] = False,
    scenario: Annotated[str, typer.Option(help="What a query is: one-step or rollout.")] = "one-step",
    device: Annotated[str | None, typer.Option(help="Device measured on.", show_default=False)] = None,
    runtime: Annotated[str | None, typer.Option(help="The cheapest otherwise.", show_default=False)] = None,
    batch: Batch = 1,
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.")] = "fp32",
    pareto: Annotated[
        str | None,
        typer.Option(
            help="Error to set against carbon, such as vrmse or vrmse@20.",
            metavar="METRIC",
            show_default="vrmse at the last step of the rollouts",
        ),
    ] = None,
    solver: Annotated[
        bool, typer.Option("--solver", help="Also the numerical solver that made the data.")
    ] = False,
    retrain_every: Annotated[
        str | None,
        typer.Option(help="Train anew after so many queries.", metavar="QUERIES", show_default=False),
    ] = None,
    intensity: GridIntensity = None,
    pue: Overhead = None,
    json: AsJson = False,
    study: StudyOption = None,
) -> None:
    """Everything as one page that opens from a file, the data behind it, model cards and emissions.csv."""
    from ptprof import workflows
    from ptprof.amortise.accuracy import parse_metric
    from ptprof.amortise.assumptions import stated
    from ptprof.amortise.costs import Scope
    from ptprof.amortise.selection import Query
    from ptprof.report.reported import answered

    made = workflows.report(
        study_of(ctx, study),
        queries=queries or DEFAULT_QUERIES,
        out=out,
        draw=figures,
        location=location,
        table=table,
        paper=paper,
        models=models,
        query=Query(scenario, device, runtime, batch, run, precision, nfe, recipe),
        assumptions=stated(intensity=intensity, pue=pue, retrain_every=retrain_every),
        scope=Scope(solver=solver, metric=None if pareto is None else parse_metric(pareto)),
    )
    show(made, json, [answered(made)])
