"""The report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptprof.cli.cost_options import (
    COMPARED,
    CheapestRuntime,
    MeasuredOn,
    MeasuredPrecision,
    Paper,
    RetrainEvery,
    Scenario,
    Solver,
    Table,
)
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
    table: Table = None,
    paper: Paper = False,
    scenario: Scenario = "one-step",
    device: MeasuredOn = None,
    runtime: CheapestRuntime = None,
    batch: Batch = 1,
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    precision: MeasuredPrecision = "fp32",
    pareto: Annotated[
        str | None,
        typer.Option(
            help="Error to set against carbon, such as vrmse or vrmse@20.",
            metavar="METRIC",
            show_default="vrmse at the last step of the rollouts",
            rich_help_panel=COMPARED,
        ),
    ] = None,
    solver: Solver = False,
    retrain_every: RetrainEvery = None,
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
