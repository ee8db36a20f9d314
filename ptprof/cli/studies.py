"""Whole studies: several into one, and whether one is in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptprof.cli.options import AsJson, Quiet, StudyOption
from ptprof.cli.shared import show, study_of
from ptprof.errors import UsageError
from ptprof.progress import progress_bar
from ptprof.study import Study


def merge(
    ctx: typer.Context,
    sources: Annotated[list[Path], typer.Argument(metavar="STUDY", help="Studies to take from.")],
    into: Annotated[
        Path | None,
        typer.Option(help="Folder of the merged study; the usual one otherwise.", show_default=False),
    ] = None,
    keep_first: Annotated[
        bool,
        typer.Option("--keep-first", help="Of two runs of one name that differ, keep the first."),
    ] = False,
    rename: Annotated[
        str | None,
        typer.Option(metavar="SUFFIX", help="Keep both, the later one as <run>-SUFFIX.", show_default=False),
    ] = None,
    data: Annotated[bool, typer.Option(help="Take the data set too, where there is none.")] = True,
    json: AsJson = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Make one study of several, as from two machines; those named stay as they are. Stopped, it goes on."""
    from ptprof import studies
    from ptprof.report import studies as words

    if keep_first and rename is not None:
        raise UsageError("--keep-first and --rename are two answers to one question: give one of them")
    target = Study(into) if into is not None else study_of(ctx, study)
    with progress_bar(not quiet) as bar:
        report = studies.merge(
            [Study(source) for source in sources],
            target,
            conflicts="first" if keep_first else "refuse" if rename is None else "rename",
            suffix=rename or "",
            data=data,
            progress=bar,
        )
    show(report, json, [words.merged(report)])


def check(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="The usual one otherwise.", show_default=False)
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
    study: StudyOption = None,
) -> None:
    """Read every record of a study, hash its files, and tell all that is wrong; exit status 1 where it is."""
    from ptprof import studies
    from ptprof.report import studies as words

    with progress_bar(not quiet) as bar:
        report = studies.check(study_of(ctx, folder or study), progress=bar)
    show(report, json, [words.findings(report)])
    if report.faults:
        raise typer.Exit(1)
