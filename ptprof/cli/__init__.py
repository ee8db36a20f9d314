"""The commands: parse, call one function, print. A command imports its rooms itself: help stays quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ptprof import __version__
from ptprof.cli import (
    amortising,
    exporting,
    measuring,
    planning,
    reporting,
    serving,
    start,
    studies,
    training,
)
from ptprof.errors import PtprofError
from ptprof.runtimes.threads import spin_briefly

__all__ = ["app", "main"]

COMMANDS = (
    (start.quickstart, "Example: ptprof quickstart --study /tmp/study"),
    (start.doctor, "Example: ptprof doctor --json"),
    (training.train, "Example: ptprof train fno unet --seed 1"),
    (training.evaluate, "Example: ptprof evaluate fno unet-cp --steps 50"),
    (exporting.export, exporting.EXAMPLES),
    (measuring.profile, measuring.EXAMPLES),
    (
        amortising.amortise,
        "Examples: ptprof amortise --queries 1e6 --queries 1e7; ptprof amortise --table costs.csv",
    ),
    (planning.fleet, "Example: ptprof fleet --queries-per-day 1e9 --latency 50ms"),
    (reporting.report, "Example: ptprof report --figures"),
    (training.burgers, "Example: ptprof burgers --seeds 3 --figure burgers.png"),
    (serving.serve, "Example: ptprof serve fno --port 8000"),
    (serving.query, "Example: ptprof query fno --steps 50 --trajectory 0 --out states.npy"),
)
"""In the order of the help, each with an example."""

app = typer.Typer(
    name="ptprof",
    help="Which scientific-ML forecaster is cheapest over its whole life: train, export, measure, amortise.",
    epilog="Begin with: ptprof quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command, example in COMMANDS:
    app.command(epilog=example)(command)
data = typer.Typer(no_args_is_help=True, help="Make a shear-flow data set, or tell what a folder holds.")
data.command("generate", epilog="Example: ptprof data generate --recipe quick")(start.data_generate)
data.command("info", epilog="Example: ptprof data info study/data/shear_flow")(start.data_info)
app.add_typer(data, name="data")
whole = typer.Typer(no_args_is_help=True, help="Merge studies of several machines, or check one.")
whole.command("merge", epilog="Example: ptprof study merge one two --into both")(studies.merge)
whole.command("check", epilog="Example: ptprof study check both")(studies.check)
app.add_typer(whole, name="study")


def _version(asked: bool) -> None:
    # Not in the callback of the group, which click asks only once it has a command.
    if asked:
        sys.stdout.write(f"ptprof {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    study: Annotated[
        Path,
        typer.Option(envvar="PTPROF_STUDY", help="Folder that holds everything that ptprof makes."),
    ] = Path("study"),
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Python file, or module, with models, runtimes or sensors of one's own; repeatable. Also"
            " PTPROF_PLUGINS.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Take what stands before the command's name."""
    ctx.obj = study
    if plugin or os.environ.get("PTPROF_PLUGINS"):
        from ptprof import plugins

        plugins.announce(plugin or ())


def main() -> None:
    """Run a command; a user's mistake is one line on stderr, never a traceback."""
    if sys.platform == "win32":
        sys.exit("ptprof: Windows is not supported: use Linux, macOS, or the Windows Subsystem for Linux")
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
