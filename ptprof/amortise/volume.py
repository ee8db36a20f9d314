"""How many queries a study's servers have answered: the real volume, for amortisation."""

from __future__ import annotations

from collections.abc import Iterable

from ptprof.amortise.amortising import parse_queries
from ptprof.errors import StudyError, UsageError
from ptprof.records import ServedRecord
from ptprof.study import Study, read_record

SERVED = "served"
"""The folder of a study that holds the running totals, and the word for them in place of a number."""


def queries(text: str, study: Study | None, unit: str) -> float:
    """A number of queries as a user writes it, or the word ``served``: what the study's servers answered.

    Raises
    ------
    UsageError : neither, or ``served`` without a study or for anything but one-step queries
    StudyError : nothing was served yet
    """
    if text.strip() != SERVED:
        return parse_queries(text)
    if study is None:
        raise UsageError("--queries served is what a study has served: give a number with --table")
    if unit != "one-step":
        raise UsageError(f"what was served is counted in one-step queries: give a number for {unit}")
    return served_queries(study)


def served_records(study: Study) -> list[ServedRecord]:
    """The running total of every server that this study has had; StudyError for one that is damaged."""
    paths = sorted(p for p in (study.root / SERVED).glob("*.json") if not p.name.startswith("."))
    return [read_record(path, ServedRecord) for path in paths]


def served_steps(records: Iterable[ServedRecord]) -> int:
    """The forecast steps of each initial state that were computed, whatever model computed them."""
    return sum(model.steps for record in records for model in record.models)


def served_queries(study: Study, steps: int = 1) -> float:
    """The volume that was served, in queries of ``steps`` steps each: a rollout of 50 is 50 one-step queries.

    Raises
    ------
    StudyError : nothing was served yet
    """
    count = served_steps(served_records(study)) / steps
    if count < 1:
        raise StudyError(f"{study.root} has served no query yet: begin with `ptprof serve`")
    return count
