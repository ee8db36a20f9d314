"""The whole way, what is here, and the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptprof.cli.options import (
    DEFAULT_QUERIES,
    AsJson,
    Device,
    Force,
    Models,
    Queries,
    Quiet,
    Seed,
    StudyOption,
    Watts,
)
from ptprof.cli.shared import show, study_of
from ptprof.progress import progress_bar


def quickstart(
    ctx: typer.Context,
    models: Models = None,
    queries: Queries = None,
    device: Device = "auto",
    seed: Seed = 0,
    watts: Watts = None,
    json: AsJson = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """The whole way in minutes: data, training, export, measurement, amortisation; stopped, it goes on."""
    from ptprof import workflows
    from ptprof.report import tables

    with progress_bar(not quiet) as bar:
        report = workflows.quickstart(
            study_of(ctx, study),
            models,
            queries=queries or DEFAULT_QUERIES,
            device=device,
            seed=seed,
            watts_per_core=watts,
            progress=bar,
        )
    show(report, json, [tables.amortisation(report)])


def doctor(json: AsJson = False) -> None:
    """What is here, and which figures will be measured, modelled or missing."""
    from ptprof import workflows
    from ptprof.report import tables

    diagnosis = workflows.doctor()
    show(diagnosis, json, [tables.diagnosis(diagnosis)])


def data_generate(
    ctx: typer.Context,
    recipe: Annotated[str, typer.Option(help="Recipe whose [data] to simulate.")] = "quick",
    grid: Annotated[
        str | None, typer.Option(help="Points XxY; the recipe's otherwise.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder; the study's otherwise.", show_default=False)
    ] = None,
    device: Device = "auto",
    watts: Watts = None,
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Simulate the shear flow, its energy metered, and write it in The Well's HDF5 layout."""
    from ptprof.energy import CPU_WATTS_PER_CORE
    from ptprof.report import tables
    from ptprof.runtimes.device import resolve_device
    from ptprof.train import data
    from ptprof.train.recipe import load_recipe, parse_grid

    folder = out or study_of(ctx, study).data
    chosen = load_recipe(recipe)
    if grid is not None:
        chosen = chosen.model_copy(update={"grid": parse_grid(grid)})
    with progress_bar(not quiet) as bar:
        info = data.generate(
            folder,
            chosen,
            device=resolve_device(device),
            progress=bar,
            force=force,
            watts_per_core=watts or CPU_WATTS_PER_CORE,
        )
    show(info, json, [tables.data_set(info)])


def data_info(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(help="A data set in The Well's layout; the study's otherwise.", show_default=False),
    ] = None,
    json: AsJson = False,
    study: StudyOption = None,
) -> None:
    """What a data folder holds."""
    from ptprof.report import tables
    from ptprof.train import data

    info = data.info(folder or study_of(ctx, study).data)
    show(info, json, [tables.data_set(info)])
