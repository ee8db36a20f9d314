"""What a query takes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ptprof.cli.options import (
    Address,
    AsJson,
    Device,
    ExecutorName,
    Force,
    Models,
    Nfe,
    Quiet,
    RecipeName,
    RunName,
    StudyOption,
    Watts,
)
from ptprof.cli.shared import listed, show, study_of
from ptprof.errors import UsageError
from ptprof.progress import progress_bar

EXAMPLES = "\n\n".join(
    (
        "Examples:",
        "ptprof profile fno --runtime onnxruntime",
        "ptprof profile --runtime all --scenario all --batch 1,2,4 --protocol full",
        "ptprof profile fno --rate 20 --duration 60",
        "ptprof profile --protocol paper --runtime eager",
        "ptprof profile --executor ray --address auto",
        "ptprof profile --compare",
    )
)
RUNTIMES = "eager,torchscript,onnxruntime"
SCENARIOS = "one-step,rollout"
STEPS, PAPER_STEPS = 10, 50
_ASKED, _RUN, _MEASURED = "What is asked", "What runs it", "How it is measured"

Runtime = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated: eager, compile, torchscript, onnxruntime, openvino, pt2, or a plugin's;"
        " all: what is here.",
        show_default=RUNTIMES,
        rich_help_panel=_RUN,
    ),
]
Precision = Annotated[
    Literal["fp32", "bf16"],
    typer.Option(help="Of the products; bf16 where the runtime has it.", rich_help_panel=_RUN),
]
Tf32 = Annotated[
    bool, typer.Option("--tf32", help="Round the products of fp32 to TF32 on a GPU.", rich_help_panel=_RUN)
]
ScenarioNames = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated: one-step, rollout, cold-start (a fresh process up to its first answer); all:"
        " these three. Or load, see --rate.",
        show_default=SCENARIOS,
        rich_help_panel=_ASKED,
    ),
]
Batches = Annotated[
    str | None,
    typer.Option(
        "--batch", help="Initial states per call; several: 1,2,4.", show_default="1", rich_help_panel=_ASKED
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Length of a rollout.",
        show_default=f"{STEPS}; {PAPER_STEPS} by the paper's protocol",
        rich_help_panel=_ASKED,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        help="Scenario load: calls at random times, so many per second; latency from the intended send.",
        show_default=False,
        rich_help_panel=_ASKED,
    ),
]
Duration = Annotated[float, typer.Option(help="Seconds of a window of load.", rich_help_panel=_ASKED)]
ProtocolName = Annotated[
    Literal["quick", "full", "paper"],
    typer.Option(
        help="quick: 5 windows of 1 s; full: until figures are known to ± 2 %; paper: the whole test set"
        " three times, and by Carbontracker.",
        rich_help_panel=_MEASURED,
    ),
]
MaxTime = Annotated[
    float | None,
    typer.Option(
        "--max-time",
        help="Most seconds that the windows of one candidate take; the protocol's otherwise.",
        show_default=False,
        rich_help_panel=_MEASURED,
    ),
]
MeterGpus = Annotated[
    str | None,
    typer.Option(
        "--meter-gpus",
        help="Boards whose energy counts, by number or UUID, comma-separated; the device's otherwise.",
        show_default=False,
        rich_help_panel=_MEASURED,
    ),
]
Percentiles = Annotated[
    bool,
    typer.Option("--percentiles", help="Show percentiles of latency too, as far as the calls bear them."),
]
Compare = Annotated[
    bool,
    typer.Option(
        "--compare",
        help="Measure nothing: say for each two that are measured which is cheaper and which faster.",
    ),
]


def profile(
    ctx: typer.Context,
    models: Models = None,
    runtime: Runtime = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    tf32: Tf32 = False,
    scenario: ScenarioNames = None,
    batch: Batches = None,
    steps: Steps = None,
    rate: Rate = None,
    duration: Duration = 10.0,
    run: RunName = None,
    recipe: RecipeName = None,
    nfe: Nfe = None,
    protocol: ProtocolName = "quick",
    max_time: MaxTime = None,
    meter_gpus: MeterGpus = None,
    watts: Watts = None,
    executor: ExecutorName = "local",
    address: Address = None,
    percentiles: Percentiles = False,
    compare: Compare = False,
    json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Measure latency, throughput, memory and energy per query. Stopped, it goes on."""
    from ptprof import workflows
    from ptprof.report import comparison, tables

    found = study_of(ctx, study)
    if compare:
        verdicts = workflows.compare(
            found,
            models,
            run=run,
            recipe=recipe,
            runtimes=None if runtime in (None, "all") else listed(runtime),
            scenarios=None if scenario in (None, "all") else listed(scenario),
            device=None if device == "auto" else device,
            batches=None if batch is None else _whole_numbers(batch),
        )
        show(verdicts, json, [comparison.comparison(verdicts)])
        return
    paper = protocol == "paper"
    with progress_bar(not quiet) as bar:
        measurements = workflows.profile(
            found,
            models,
            run=run,
            recipe=recipe,
            runtimes=listed(runtime or RUNTIMES),
            scenarios=listed(scenario or ("load" if rate is not None else SCENARIOS)),
            device=device,
            batches=_whole_numbers("1" if batch is None else batch),
            steps=steps or (PAPER_STEPS if paper else STEPS),
            rate=rate,
            duration=duration,
            nfe=nfe,
            precision=precision,
            tf32=tf32,
            protocol=protocol,
            max_time=max_time,
            meter_gpus=None if meter_gpus is None else listed(meter_gpus),
            watts_per_core=watts,
            executor=executor,
            address=address,
            force=force,
            progress=bar,
        )
    show(measurements, json, [tables.measurements(measurements, percentiles)])


def _whole_numbers(text: str) -> list[int]:
    parts = listed(text)
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--batch takes whole numbers, such as 1 or 1,2,4, and not {text!r}")
    return [int(part) for part in parts]
