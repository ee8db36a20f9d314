"""The fleet for a volume of queries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ptprof.cli.options import AsJson, GridIntensity, Models, Nfe, Overhead, RecipeName, RunName, StudyOption
from ptprof.cli.shared import Form, study_of

MEASURED = "What was measured"
BESIDE = "What is paid beside the queries"
OUTPUT = "Output"


def fleet(
    ctx: typer.Context,
    models: Models = None,
    queries_per_day: Annotated[str, typer.Option(help="The mean over the year.")] = "1e6",
    latency: Annotated[str, typer.Option(help="The longest answer, its wait included: 50ms, 0.2s.")] = "50ms",
    percentile: Annotated[
        float, typer.Option(help="Per cent of queries that are answered so soon, at the peak.")
    ] = 99.0,
    peak_to_mean: Annotated[
        float, typer.Option(help="Queries at the busiest time of the day over the day's mean.")
    ] = 2.0,
    dispatch: Annotated[
        Literal["round-robin", "random"], typer.Option(help="How workers get queries.")
    ] = "round-robin",
    spares: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Workers beyond those needed: 1 for N+1.")
    ] = 0,
    study: StudyOption = None,
    scenario: Annotated[
        str, typer.Option(help="What a query is: one-step or rollout.", rich_help_panel=MEASURED)
    ] = "one-step",
    device: Annotated[
        str | None, typer.Option(help="Device measured on.", show_default=False, rich_help_panel=MEASURED)
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Every one otherwise.", show_default=False, rich_help_panel=MEASURED)
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Queries per call; every one otherwise.", show_default=False, rich_help_panel=MEASURED
        ),
    ] = None,
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.", rich_help_panel=MEASURED)] = "fp32",
    intensity: GridIntensity = None,
    pue: Overhead = None,
    trainings_per_year: Annotated[
        float, typer.Option(min=0.0, help="How often a model is trained anew.", rich_help_panel=BESIDE)
    ] = 1.0,
    embodied_kg: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="kgCO2eq of making a worker's device.",
            show_default=False,
            rich_help_panel=BESIDE,
        ),
    ] = None,
    lifetime_years: Annotated[
        float | None, typer.Option(help="Of the device.", show_default="5", rich_help_panel=BESIDE)
    ] = None,
    json: AsJson = False,
    csv: Annotated[
        Path | None,
        typer.Option(
            help="The fleets as CSV into a file; - for stdout.", show_default=False, rich_help_panel=OUTPUT
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Markdown on stdout.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """The fleet that serves a volume within a latency: workers, energy and CO2eq of a year, projected."""
    from ptprof import workflows
    from ptprof.amortise.assumptions import stated
    from ptprof.amortise.fleet_answer import Demand
    from ptprof.amortise.selection import Query
    from ptprof.report import fleet as shown

    form = Form(json, csv, markdown)
    report = workflows.plan(
        study_of(ctx, study),
        Demand.of(
            queries_per_day,
            latency,
            peak_to_mean=peak_to_mean,
            percentile=percentile,
            dispatch=dispatch,
            spares=spares,
            trainings_per_year=trainings_per_year,
        ),
        models=models,
        query=Query(scenario, device, runtime, batch or 1, run, precision, nfe, recipe),
        any_batch=batch is None,
        assumptions=stated(
            intensity=intensity, pue=pue, embodied_kg=embodied_kg, lifetime_years=lifetime_years
        ),
    )
    form.show(
        report,
        [shown.fleets(report)],
        as_csv=lambda: shown.as_csv(report),
        as_markdown=lambda: shown.as_markdown(report),
    )
