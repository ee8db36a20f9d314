"""A server, and a question to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ptprof.cli.options import (
    Address,
    AsJson,
    Device,
    Intensity,
    Models,
    Pue,
    StudyOption,
    Token,
    Watts,
)
from ptprof.cli.shared import show, study_of
from ptprof.errors import UsageError


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
    engine: Annotated[
        Literal["uvicorn", "ray"], typer.Option(help="One process, or replicas by Ray Serve.")
    ] = "uvicorn",
    replicas: Annotated[
        int | None, typer.Option(min=1, help="By Ray Serve: how many.", show_default=False)
    ] = None,
    deployment: Annotated[
        Path | None,
        typer.Option(
            help="By Ray Serve: YAML of its settings of a deployment, such as autoscaling_config.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
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
        study=study_of(ctx, study),
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
    if engine == "ray":
        settings = serving.read_settings(deployment, replicas)
        serving.serve_on_ray(service, settings, host=host, port=port, insecure=insecure, address=address)
        return
    for name, given in (("replicas", replicas), ("deployment", deployment), ("address", address)):
        if given is not None:
            raise UsageError(f"--{name} is of Ray Serve: give --engine ray as well")
    serving.serve_study(service, host=host, port=port, insecure=insecure)


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
    show(answer, json, [answers.answer(answer)])


def _mib(size: float) -> int:
    return round(size * 2**20)
