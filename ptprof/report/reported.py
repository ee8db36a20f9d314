"""What `ptprof report` wrote, for programs and for people."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType

from ptprof.amortise.amortising import AmortiseReport
from ptprof.records import Value
from ptprof.report import words
from ptprof.report.style import paragraph


class Reported(Value):
    """The files written, and the answer that stands in the page; None where nothing can be compared."""

    page: str
    figures: tuple[str, ...]
    data: tuple[str, ...]
    cards: tuple[str, ...]
    emissions: str | None
    answer: AmortiseReport | None


def answered(made: Reported) -> RenderableType:
    """The answer, and where everything is."""
    return (
        reported(made)
        if made.answer is None
        else Group(paragraph(words.answer(made.answer), "bold"), reported(made))
    )


def reported(made: Reported) -> RenderableType:
    """Where everything is."""
    lines = [f"The report is {made.page}: open it in a browser."]
    for what, paths in (("Figures", made.figures), ("Data", made.data), ("Model cards", made.cards)):
        if paths:
            lines.append(f"{what}: {len(paths)} in {Path(paths[0]).parent}.")
    if made.emissions is not None:
        lines.append(f"Trainings as CodeCarbon writes them: {made.emissions}.")
    return paragraph(lines)
