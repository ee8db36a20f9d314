"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

CARBON = "Joules to grams"
DEFAULT_QUERIES = ("1e4", "1e5", "1e6", "1e7")

StudyOption = Annotated[
    Path | None,
    typer.Option(
        "--study", help="Folder that holds everything; PTPROF_STUDY, or ./study.", show_default=False
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODEL", help="Model names; none: all that apply.", show_default=False),
]
Queries = Annotated[
    list[str] | None,
    typer.Option(
        help="Number of queries to amortise over, or `served`; may be given several times.",
        show_default=" ".join(DEFAULT_QUERIES),
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …; auto takes a GPU where there is one.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Do again what is already done.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Watts = Annotated[
    float | None,
    typer.Option(
        "--cpu-watts-per-core",
        min=0.01,
        help="Watts of a busy core, where CPU energy is modelled.",
        show_default=False,
    ),
]
Batch = Annotated[int, typer.Option(min=1, help="Initial states per call.")]
Intensity = Annotated[float, typer.Option(min=0.001, help="Grid carbon intensity, gCO2eq/kWh.")]
Pue = Annotated[float, typer.Option(min=1.0, help="Power usage effectiveness of the site.")]
GridIntensity = Annotated[
    str | None,
    typer.Option(
        "--intensity",
        help="Grid carbon intensity: gCO2eq/kWh, or a country such as DK.",
        show_default="WORLD, 445",
        rich_help_panel=CARBON,
    ),
]
Overhead = Annotated[
    float | None,
    typer.Option(
        "--pue",
        min=1.0,
        help="Power usage effectiveness of the site.",
        show_default="1.0",
        rich_help_panel=CARBON,
    ),
]
Nfe = Annotated[
    int | None,
    typer.Option(
        "--nfe",
        min=1,
        help="Evaluations of flow-matching's network per step; the recipe's otherwise.",
        show_default=False,
    ),
]
RunName = Annotated[
    str | None, typer.Option("--run", help="A run by name; the newest otherwise.", show_default=False)
]
RecipeName = Annotated[
    str | None, typer.Option("--recipe", help="Of this recipe; the newest otherwise.", show_default=False)
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")]
Precision = Annotated[
    Literal["fp32", "tf32", "bf16"],
    typer.Option(help="Of the products: fp32; tf32 (GPUs); bf16, autocast, transforms stay in fp32."),
]
ChannelsLast = Annotated[
    bool, typer.Option("--channels-last/--channels-first", help="Layout of the U-nets' fields in memory.")
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the step with torch.compile.")]
Accumulate = Annotated[
    int, typer.Option(min=1, help="Parts that a batch is split into, for less memory; the step stays one.")
]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="Project the cost from some steps; nothing is trained to the end.")
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="With --estimate: how many; the recipe's otherwise.", show_default=False),
]
EstimateTime = Annotated[
    float | None,
    typer.Option(
        "--estimate-time",
        min=0.01,
        help="With --estimate: seconds to go on for where 2 % are not reached.",
        show_default="60",
    ),
]
Preload = Annotated[
    Literal["auto", "memory", "device", "none"],
    typer.Option(help="Where to hold the data: auto, on the device up to 2 GiB a split, else nowhere."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Threads that read data; 4, or as many as cores.", show_default=False),
]
TrainingBatch = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, help="Windows of each process per step; the recipe's otherwise.", show_default=False
    ),
]
ExecutorName = Annotated[
    Literal["local", "ray"],
    typer.Option("--executor", help="ray: on the devices of a Ray cluster, one thing at a time on each."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="The Ray cluster's: auto, or HOST:6379; RAY_ADDRESS, or a Ray started here.", show_default=False
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="PTPROF_TOKEN",
        help="Bearer token; better in the environment, where other users do not see it.",
        show_default=False,
    ),
]
