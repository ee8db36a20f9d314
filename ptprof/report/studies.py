"""What a check of a study found and what a merge did, for the terminal: one line for each thing."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from ptprof.report.format import size
from ptprof.studies import CheckReport, MergeReport


def findings(report: CheckReport) -> Group:
    """What is wrong, then what is worth knowing, then how much was looked at."""
    return Group(*_found(report))


def merged(report: MergeReport) -> Group:
    """What was left out or renamed, then how much was written."""
    return Group(*_done(report))


def _found(report: CheckReport) -> Iterator[Text]:
    for finding in sorted(report.findings, key=lambda finding: not finding.is_fault):
        yield _line(f"{finding.kind}: {finding.path} {finding.what}", "bold" if finding.is_fault else "")
    wrong = len(report.faults)
    verdict = "nothing is wrong" if not wrong else f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong"
    yield _line(f"{report.study}: {report.records} records read, {report.hashed} files hashed: {verdict}")


def _done(report: MergeReport) -> Iterator[Text]:
    for what in report.left_out:
        yield _line(f"left out: {what}", "bold")
    for old, new in report.renamed.items():
        yield _line(f"renamed: {old} is {new} now")
    written = f"{report.written} files written ({size(report.written_bytes)})"
    yield _line(f"{report.into}: {written}, {report.there} were there")


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ignore")
