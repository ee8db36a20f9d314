"""Options of the commands that compare costs: which figures are taken, and what is paid beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

COMPARED = "What is compared"
BESIDE = "What is paid beside a training and its queries"

Table = Annotated[
    Path | None,
    typer.Option("--table", help="CSV of costs measured elsewhere, instead of a study.", show_default=False),
]
Paper = Annotated[
    bool, typer.Option("--paper", help="Table 2 of the paper that ptprof implements, instead of a study.")
]
Scenario = Annotated[
    str, typer.Option("--scenario", help="What a query is: one-step or rollout.", rich_help_panel=COMPARED)
]
MeasuredOn = Annotated[
    str | None,
    typer.Option("--device", help="Device measured on.", show_default=False, rich_help_panel=COMPARED),
]
CheapestRuntime = Annotated[
    str | None,
    typer.Option("--runtime", help="The cheapest otherwise.", show_default=False, rich_help_panel=COMPARED),
]
MeasuredPrecision = Annotated[
    str, typer.Option("--precision", help="fp32, tf32 or bf16.", rich_help_panel=COMPARED)
]
Solver = Annotated[
    bool,
    typer.Option("--solver", help="Also the numerical solver that made the data.", rich_help_panel=COMPARED),
]
RetrainEvery = Annotated[
    str | None,
    typer.Option(
        "--retrain-every",
        help="Train anew after so many queries.",
        metavar="QUERIES",
        show_default=False,
        rich_help_panel=BESIDE,
    ),
]
