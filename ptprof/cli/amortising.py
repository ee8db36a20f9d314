"""The answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ptprof.cli.cost_options import (
    BESIDE,
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
    CARBON,
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
from ptprof.cli.shared import Form, study_of

OUTPUT = "Output"


def amortise(
    ctx: typer.Context,
    models: Models = None,
    queries: Queries = None,
    table: Table = None,
    paper: Paper = False,
    study: StudyOption = None,
    scenario: Scenario = "one-step",
    unit: Annotated[
        Literal["query", "simulated-second"],
        typer.Option(help="What is counted: queries, or seconds of the flow.", rich_help_panel=COMPARED),
    ] = "query",
    device: MeasuredOn = None,
    runtime: CheapestRuntime = None,
    batch: Batch = 1,
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    precision: MeasuredPrecision = "fp32",
    solver: Solver = False,
    max_error: Annotated[
        str | None,
        typer.Option(
            help="Leave out what is less accurate: vrmse=0.2, vrmse@20=0.5.",
            metavar="METRIC=VALUE",
            show_default=False,
            rich_help_panel=COMPARED,
        ),
    ] = None,
    pareto: Annotated[
        str | None,
        typer.Option(
            help="Set accuracy against carbon: vrmse, nrmse or pearson_r; vrmse@20 for step 20 of a rollout.",
            metavar="METRIC",
            show_default=False,
            rich_help_panel=COMPARED,
        ),
    ] = None,
    intensity: GridIntensity = None,
    pue: Overhead = None,
    train_intensity: Annotated[
        str | None, typer.Option(help="Of training only.", show_default=False, rich_help_panel=CARBON)
    ] = None,
    train_pue: Annotated[
        float | None, typer.Option(min=1.0, help="Of training.", show_default=False, rich_help_panel=CARBON)
    ] = None,
    serve_intensity: Annotated[
        str | None, typer.Option(help="Of queries only.", show_default=False, rich_help_panel=CARBON)
    ] = None,
    serve_pue: Annotated[
        float | None, typer.Option(min=1.0, help="Of queries.", show_default=False, rich_help_panel=CARBON)
    ] = None,
    data: Annotated[
        bool,
        typer.Option("--data-generation", help="Count simulating the training data.", rich_help_panel=BESIDE),
    ] = False,
    tuning: Annotated[
        str | None,
        typer.Option(
            help="So many trainings more; or runs: the study's other runs of the model.",
            metavar="FACTOR",
            show_default=False,
            rich_help_panel=BESIDE,
        ),
    ] = None,
    cold_starts: Annotated[
        int, typer.Option(min=0, help="Starts of a server, over the whole life.", rich_help_panel=BESIDE)
    ] = 0,
    retrain_every: RetrainEvery = None,
    embodied_kg: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="kgCO2eq of making the device.", show_default=False, rich_help_panel=BESIDE
        ),
    ] = None,
    lifetime_years: Annotated[
        float | None, typer.Option(help="Of the device.", show_default="5", rich_help_panel=BESIDE)
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(help="Share of its life that it works.", show_default="0.5", rich_help_panel=BESIDE),
    ] = None,
    json: AsJson = False,
    csv: Annotated[
        Path | None,
        typer.Option(
            help="The totals as CSV into a file; - for stdout.", show_default=False, rich_help_panel=OUTPUT
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Markdown on stdout.", rich_help_panel=OUTPUT)
    ] = False,
    bootstrap: Annotated[
        bool,
        typer.Option(
            "--bootstrap", help="Break-even intervals also from the raw windows.", rich_help_panel=OUTPUT
        ),
    ] = False,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Also draw cost against queries: .png, .svg or .pdf.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Training spread over a number of queries: totals, cost per query, break-even points."""
    from ptprof import workflows
    from ptprof.amortise.accuracy import parse_limit, parse_metric
    from ptprof.amortise.assumptions import stated
    from ptprof.amortise.costs import Query, Scope
    from ptprof.report import tables, tabular

    form = Form(json, csv, markdown)
    report = workflows.amortise(
        study_of(ctx, study),
        queries=queries or DEFAULT_QUERIES,
        table=table,
        paper=paper,
        models=models,
        query=Query(scenario, device, runtime, batch, run, precision, nfe, recipe),
        assumptions=stated(
            intensity=intensity,
            pue=pue,
            train_intensity=train_intensity,
            train_pue=train_pue,
            serve_intensity=serve_intensity,
            serve_pue=serve_pue,
            data=data,
            tuning=tuning,
            cold_starts=cold_starts,
            embodied_kg=embodied_kg,
            lifetime_years=lifetime_years,
            utilisation=utilisation,
            retrain_every=retrain_every,
        ),
        scope=Scope(
            simulated_second=unit == "simulated-second",
            solver=solver,
            metric=None if pareto is None else parse_metric(pareto),
            max_error=None if max_error is None else parse_limit(max_error),
        ),
        bootstrap=bootstrap,
        figure=figure,
    )
    form.show(
        report,
        [tables.amortisation(report)],
        as_csv=lambda: tabular.as_csv(report),
        as_markdown=lambda: tabular.as_markdown(report),
    )
