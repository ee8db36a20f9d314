"""Training, and what it came to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptprof.cli.options import (
    Accumulate,
    Address,
    AsJson,
    ChannelsLast,
    Compile,
    Device,
    Epochs,
    Estimate,
    EstimateTime,
    ExecutorName,
    Force,
    Intensity,
    Models,
    Precision,
    Preload,
    Pue,
    Quiet,
    RunName,
    Seed,
    StudyOption,
    TrainingBatch,
    Watts,
    Workers,
)
from ptprof.cli.shared import listed, show, study_of
from ptprof.errors import UsageError
from ptprof.progress import progress_bar


def train(
    ctx: typer.Context,
    models: Models = None,
    recipe: Annotated[str, typer.Option(help="quick or paper.")] = "quick",
    data: Annotated[
        Path | None,
        typer.Option(help="Data in The Well's layout; the study's otherwise.", show_default=False),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "fp32",
    channels_last: ChannelsLast = True,
    compile: Compile = False,
    accumulate: Accumulate = 1,
    batch: TrainingBatch = None,
    preload: Preload = "auto",
    workers: Workers = None,
    estimate: Estimate = False,
    epochs: Epochs = None,
    estimate_time: EstimateTime = None,
    intensity: Intensity = 445.0,
    pue: Pue = 1.0,
    watts: Watts = None,
    executor: ExecutorName = "local",
    address: Address = None,
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Train models, their energy metered; none named: the seven forecasters. Stopped, it goes on.

    On several GPUs, of one machine or several: torchrun --nproc-per-node 2 -m ptprof train … --device cuda
    """
    from ptprof import workflows
    from ptprof.records import Execution
    from ptprof.report import pinns
    from ptprof.train.data.loader import Reading
    from ptprof.train.processes import leads, processes

    reading = Reading(None if preload == "auto" else False if preload == "none" else preload, workers)
    execution = Execution(
        precision=precision,
        channels_last=channels_last,
        compiled=compile,
        accumulate=accumulate,
        batch=batch,
    )
    if not estimate and (epochs is not None or estimate_time is not None):
        raise UsageError("--epochs and --estimate-time go with --estimate: a training ends by its recipe")
    if executor != "local" and (estimate or processes() > 1):
        raise UsageError(
            "--executor ray goes neither with --estimate nor with torchrun: leave one of them out"
        )
    if estimate:
        from ptprof.report import tables

        with progress_bar(not quiet) as bar:
            report = workflows.estimate(
                study_of(ctx, study),
                models,
                recipe=recipe,
                epochs=epochs,
                limit_s=estimate_time,
                data=data,
                seed=seed,
                device=device,
                execution=execution,
                reading=reading,
                watts_per_core=watts,
                intensity_g_per_kwh=intensity,
                pue=pue,
                force=force,
                progress=bar,
            )
        show(report, json, [tables.estimates(report)])
        return
    with progress_bar(not quiet and leads()) as bar:
        runs = workflows.train(
            study_of(ctx, study),
            models,
            recipe=recipe,
            data=data,
            seed=seed,
            device=device,
            execution=execution,
            reading=reading,
            watts_per_core=watts,
            executor=executor,
            address=address,
            force=force,
            progress=bar,
        )
    if leads():
        show(runs, json, [pinns.trainings(runs)])


def evaluate(
    ctx: typer.Context,
    models: Models = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Data in The Well's layout; the study's otherwise.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Length of a rollout, as far as the data go; the recipe's otherwise.",
            show_default=False,
        ),
    ] = None,
    run: RunName = None,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the pictures; the study's report.", show_default=False)
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Score trained models on the test split: accuracy, spectra and physics over rollouts, with pictures."""
    from ptprof import workflows
    from ptprof.report import evaluation

    with progress_bar(not quiet) as bar:
        evaluations = workflows.evaluate(
            study_of(ctx, study),
            models,
            run=run,
            data=data,
            steps=steps,
            device=device,
            out=out,
            progress=bar,
        )
    show(evaluations, json, [evaluation.tables(evaluations)])


def burgers(
    ctx: typer.Context,
    recipe: Annotated[str, typer.Option(help="quick or paper.")] = "quick",
    sizes: Annotated[
        str | None,
        typer.Option(help="Comma-separated numbers of points; the recipe's otherwise.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0 on.")] = 3,
    device: Device = "cpu",
    intensity: Intensity = 445.0,
    pue: Pue = 1.0,
    figure: Annotated[
        Path | None,
        typer.Option(help="Also draw test error against CO2eq: .png, .svg or .pdf.", show_default=False),
    ] = None,
    watts: Watts = None,
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Train the PINNs on every size of data set: accuracy against CO2eq. Stopped, it goes on."""
    from ptprof import workflows
    from ptprof.report import pinns

    counts = None if sizes is None else [_count(text) for text in listed(sizes)]
    with progress_bar(not quiet) as bar:
        made = workflows.burgers_sweep(
            study_of(ctx, study),
            recipe=recipe,
            sizes=counts,
            seeds=seeds,
            device=device,
            intensity_g_per_kwh=intensity,
            pue=pue,
            figure=figure,
            watts_per_core=watts,
            force=force,
            progress=bar,
        )
    show(made, json, [pinns.tradeoff(made)])


def _count(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"a size is a number of points, such as 1000, not {text!r}")
    return int(text)
