"""The commands: parse, call one function, print. A command imports its rooms itself: help stays quick."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptprof import __version__
from ptprof.errors import PtprofError, UsageError
from ptprof.options import (
    DEFAULT_QUERIES,
    Accumulate,
    AsJson,
    Batch,
    ChannelsLast,
    Compile,
    Device,
    Epochs,
    Estimate,
    EstimateTime,
    Force,
    Intensity,
    Models,
    Nfe,
    Precision,
    Preload,
    Pue,
    Queries,
    Quiet,
    RecipeName,
    RunName,
    Seed,
    StudyOption,
    Token,
    TrainingBatch,
    Watts,
    Workers,
)
from ptprof.progress import console, progress_bar
from ptprof.runtimes.threads import spin_briefly
from ptprof.study import Study

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import RenderableType

app = typer.Typer(
    name="ptprof",
    help="Which scientific-ML forecaster is cheapest over its whole life: train, export, measure, amortise.",
    epilog="Begin with: ptprof quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(no_args_is_help=True, help="Make a shear-flow data set, or tell what a folder holds.")
app.add_typer(data_app, name="data")


@app.callback()
def root(
    ctx: typer.Context,
    study: Annotated[
        Path,
        typer.Option(envvar="PTPROF_STUDY", help="Folder that holds everything that ptprof makes."),
    ] = Path("study"),
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)
    ] = False,
) -> None:
    """Take what stands before the command's name."""
    ctx.obj = study
    if version:
        sys.stdout.write(f"ptprof {__version__}\n")
        raise typer.Exit


@app.command(epilog="Example: ptprof quickstart --study /tmp/study")
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
            _study(ctx, study),
            models,
            queries=queries or DEFAULT_QUERIES,
            device=device,
            seed=seed,
            watts_per_core=watts,
            progress=bar,
        )
    _print(report, json, [tables.amortisation(report)])


@app.command(epilog="Example: ptprof doctor --json")
def doctor(json: AsJson = False) -> None:
    """What is here, and which figures will be measured, modelled or missing."""
    from ptprof import workflows
    from ptprof.report import tables

    diagnosis = workflows.doctor()
    _print(diagnosis, json, [tables.diagnosis(diagnosis)])


@data_app.command("generate", epilog="Example: ptprof data generate --recipe quick")
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
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Simulate the shear flow and write it in The Well's HDF5 layout."""
    from ptprof.report import tables
    from ptprof.runtimes.device import resolve_device
    from ptprof.train import data
    from ptprof.train.recipe import load_recipe, parse_grid

    folder = out or _study(ctx, study).data
    chosen = load_recipe(recipe)
    if grid is not None:
        chosen = chosen.model_copy(update={"grid": parse_grid(grid)})
    with progress_bar(not quiet) as bar:
        info = data.generate(folder, chosen, device=resolve_device(device), progress=bar, force=force)
    _print(info, json, [tables.data_set(info)])


@data_app.command("info", epilog="Example: ptprof data info study/data/shear_flow")
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

    info = data.info(folder or _study(ctx, study).data)
    _print(info, json, [tables.data_set(info)])


@app.command(epilog="Example: ptprof train fno unet --seed 1")
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
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Train models, their energy metered; none named: the seven forecasters. Stopped, it goes on.

    On several GPUs of one machine: torchrun --nproc-per-node 2 -m ptprof train … --device cuda
    """
    from ptprof import workflows
    from ptprof.records import Execution
    from ptprof.report import pinns
    from ptprof.train.data.loader import Reading
    from ptprof.train.processes import leads

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
    if estimate:
        from ptprof.report import tables

        with progress_bar(not quiet) as bar:
            report = workflows.estimate(
                _study(ctx, study),
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
        _print(report, json, [tables.estimates(report)])
        return
    with progress_bar(not quiet and leads()) as bar:
        runs = workflows.train(
            _study(ctx, study),
            models,
            recipe=recipe,
            data=data,
            seed=seed,
            device=device,
            execution=execution,
            reading=reading,
            watts_per_core=watts,
            force=force,
            progress=bar,
        )
    if leads():
        _print(runs, json, [pinns.trainings(runs)])


@app.command(epilog="Example: ptprof evaluate fno unet-cp --steps 50")
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
            _study(ctx, study),
            models,
            run=run,
            data=data,
            steps=steps,
            device=device,
            out=out,
            progress=bar,
        )
    _print(evaluations, json, [evaluation.tables(evaluations)])


@app.command(epilog="Example: ptprof export fno --format onnx")
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
            _study(ctx, study),
            models,
            run=run,
            recipe=recipe,
            formats=_list(formats),
            nfe=nfe,
            force=force,
            progress=bar,
        )
    _print(artifacts, json, [tables.parity(artifacts)])


@app.command(epilog="Example: ptprof profile fno --runtime onnxruntime --scenario one-step")
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
            _study(ctx, study),
            models,
            run=run,
            recipe=recipe,
            runtimes=_list(runtime),
            scenarios=_list(scenario),
            device=device,
            batch=batch,
            steps=steps,
            nfe=nfe,
            watts_per_core=watts,
            force=force,
            progress=bar,
        )
    _print(measurements, json, [tables.measurements(measurements)])


@app.command(
    epilog="Examples: ptprof amortise --queries 1e6 --queries 1e7; ptprof amortise --table costs.csv"
)
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
        _study(ctx, study),
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
    _print(report, json, [tables.amortisation(report)])


@app.command(epilog="Example: ptprof burgers --seeds 3 --figure burgers.png")
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

    counts = None if sizes is None else [_count(text) for text in _list(sizes)]
    with progress_bar(not quiet) as bar:
        made = workflows.burgers_sweep(
            _study(ctx, study),
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
    _print(made, json, [pinns.tradeoff(made)])


@app.command(epilog="Example: ptprof serve fno --port 8000")
def serve(
    ctx: typer.Context,
    models: Models = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    runtime: Annotated[str, typer.Option(help="onnxruntime, torchscript or eager.")] = "onnxruntime",
    device: Device = "auto",
    token: Token = None,
    insecure: Annotated[
        bool, typer.Option(help="Allow an address that others can reach, without a token.")
    ] = False,
    max_batch_size: Annotated[int, typer.Option(min=1, help="States in one call of a model.")] = 8,
    preferred_batch_size: Annotated[
        str, typer.Option(help="Comma-separated sizes of batches that are made at once.", show_default=False)
    ] = "",
    max_queue_delay: Annotated[
        int, typer.Option(min=0, help="Microseconds that a request may wait for others to join it.")
    ] = 0,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests per model that may wait.")] = 16,
    max_request: Annotated[float, typer.Option(min=0.001, help="Largest request, MiB.")] = 64,
    max_response: Annotated[
        float, typer.Option(min=0.001, help="Largest response that is not streamed, MiB.")
    ] = 256,
    memory: Annotated[
        float | None,
        typer.Option(min=0.001, help="MiB of weights in memory at once; no limit.", show_default=False),
    ] = None,
    allow_nonfinite: Annotated[bool, typer.Option(help="Let NaN and infinity through to the model.")] = False,
    intensity: Intensity = 445.0,
    pue: Pue = 1.0,
    watts: Watts = None,
    study: StudyOption = None,
) -> None:
    """Serve the study's models by the Open Inference Protocol v2 over HTTP, and a page at /."""
    from ptprof import serve as serving
    from ptprof.energy import CPU_WATTS_PER_CORE

    service = serving.Service(
        study=_study(ctx, study),
        names=tuple(models or ()),
        runtime=runtime,
        device=device,
        token=token,
        limits=serving.Limits(
            max_request_bytes=_mib(max_request),
            max_response_bytes=_mib(max_response),
            max_queue=max_queue,
            allow_nonfinite=allow_nonfinite,
        ),
        batching=serving.Batching(
            max_batch_size=max_batch_size,
            preferred_batch_size=serving.batch_sizes(preferred_batch_size),
            max_queue_delay_microseconds=max_queue_delay,
        ),
        memory_bytes=None if memory is None else _mib(memory),
        price=serving.Price(intensity, pue),
        watts_per_core=watts or CPU_WATTS_PER_CORE,
    )
    serving.serve_study(service, host=host, port=port, insecure=insecure)


@app.command(epilog="Example: ptprof query fno --steps 50 --trajectory 0 --out states.npy")
def query(
    model: Annotated[
        str | None, typer.Argument(help="Model; the only one that is served otherwise.", show_default=False)
    ] = None,
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8000",
    steps: Annotated[int, typer.Option(min=1, help="Length of the rollout.")] = 1,
    states: Annotated[
        str, typer.Option(help="Which of its states: all, last, or a number: every k-th.")
    ] = "all",
    input: Annotated[
        Path | None,
        typer.Option(help="State to begin from: .npy of shape (h, C, X, Y).", show_default=False),
    ] = None,
    trajectory: Annotated[
        int, typer.Option(min=0, help="Where no input is named: the server's test trajectory.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the noise, for a model that takes it.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the states, .npy.", show_default=False)
    ] = None,
    token: Token = None,
    json: AsJson = False,
) -> None:
    """Ask a server for a rollout; what it forecasts, and what it cost."""
    from ptprof import querying
    from ptprof.client import Client
    from ptprof.report import answers

    with Client(url, token=token) as client:
        answer = querying.ask(
            client,
            model,
            steps=steps,
            states=states,
            window=input,
            trajectory=trajectory,
            seed=seed,
            out=out,
        )
    _print(answer, json, [answers.answer(answer)])


def main() -> None:
    """Run a command; a user's mistake is one line on stderr, never a traceback."""
    spin_briefly(os.environ)
    try:
        app()
    except PtprofError as error:
        from ptprof.train.processes import first_to_fail

        if first_to_fail():
            sys.stderr.write(f"ptprof: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"ptprof: {error.filename or 'input/output'}: {error.strerror or error}\n")
        sys.exit(1)


def _study(ctx: typer.Context, after: Path | None) -> Study:
    """The study named after the command, or before it, or by the environment."""
    folder: Path = after or ctx.find_root().obj
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a study folder")
    return Study(folder)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"a size is a number of points, such as 1000, not {text!r}")
    return int(text)


def _mib(size: float) -> int:
    return round(size * 2**20)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _print(
    value: BaseModel | Iterable[BaseModel], as_json: bool, renderables: Iterable[RenderableType]
) -> None:
    """Print a result: JSON, or what a person reads."""
    if as_json:
        sys.stdout.write(jsonlib.dumps(_plain(value), indent=1, allow_nan=False) + "\n")
        return
    printer = console()
    for renderable in renderables:
        printer.print(renderable)


def _plain(value: BaseModel | Iterable[BaseModel]) -> Any:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [item.model_dump(mode="json") for item in value]
