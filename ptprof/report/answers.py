"""What a server answered to a query, and how people read it."""

from __future__ import annotations

from rich.console import Group, RenderableType

from ptprof.records import Source, Value
from ptprof.report.format import NONE, prefixed, seconds, significant
from ptprof.report.style import paragraph, row, table


class FieldRange(Value):
    """The values of a field in the last state."""

    field: str
    lowest: float
    mean: float
    highest: float


class Answer(Value):
    """A rollout that a server computed: its states' shape, what the last one holds, and what it cost.

    The cost is None where the server says in ``energy_missing`` why it is not known.
    """

    model: str | None
    url: str
    steps: int
    shape: tuple[int, ...]
    file: str | None
    duration_s: float
    last: tuple[FieldRange, ...]
    energy_j: float | None = None
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    co2eq_g: float | None = None
    energy_source: Source | None = None
    energy_components: str | None = None
    energy_missing: str | None = None


def answer(answer: Answer) -> RenderableType:
    """The last state by field; under it what the rollout cost."""
    title = f"{answer.model or answer.url}: {answer.steps} step{'s' if answer.steps > 1 else ''}"
    numbers = ("lowest", "mean", "highest")
    made = table(f"{title} in {seconds(answer.duration_s)}", ("last state",), numbers)
    for field in answer.last:
        row(made, field.field, *(significant(v) for v in (field.lowest, field.mean, field.highest)))
    return Group(made, paragraph(_notes(answer)))


def _notes(answer: Answer) -> list[str]:
    notes = []
    if answer.energy_j is None:
        notes.append(f"Energy {NONE}: {answer.energy_missing or 'the server tells none'}.")
    else:
        joules, grams = prefixed(answer.energy_j, "J"), prefixed(answer.co2eq_g, "gCO2eq")
        notes.append(f"{joules}, {grams}: {answer.energy_source} ({answer.energy_components}).")
    if answer.file is not None:
        notes.append(f"{'×'.join(map(str, answer.shape))} values are in {answer.file}.")
    return notes
