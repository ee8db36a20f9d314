"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
        help="Number of queries to amortise over; may be given several times.",
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
RunName = Annotated[
    str | None, typer.Option("--run", help="A run by name; the newest otherwise.", show_default=False)
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")]
