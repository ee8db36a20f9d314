"""The answer, from a study or from a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ptprof import choices
from ptprof.amortise import costs, volume
from ptprof.amortise.amortising import AmortiseReport
from ptprof.amortise.amortising import amortise as amortised
from ptprof.amortise.assumptions import USUAL, Assumptions
from ptprof.amortise.costs import MODELS, ONE_STEP, Costs, Query, Scope
from ptprof.errors import UsageError
from ptprof.profile.paper import SOURCE, TABLE2
from ptprof.report import figures
from ptprof.study import Study


def amortise(
    study: Study,
    *,
    queries: Sequence[str],
    table: Path | None = None,
    paper: bool = False,
    models: Sequence[str] | None = None,
    query: Query = ONE_STEP,
    assumptions: Assumptions = USUAL,
    scope: Scope = MODELS,
    bootstrap: bool = False,
    figure: Path | None = None,
) -> AmortiseReport:
    """Spread training over ``queries``, from the study or from a table, and draw it where asked to.

    ``paper`` takes Table 2 of the paper, which the package holds.

    Raises
    ------
    UsageError : what cannot be asked of a table, or a number that cannot be
    TableError, StudyError : costs that cannot be used as they are
    """
    if table is not None and paper:
        raise UsageError("--paper is a table of its own: leave --table out")
    table = TABLE2 if paper else table
    unit = "simulated second" if scope.simulated_second else query.scenario
    counts = [volume.queries(text, None if table else study, unit) for text in queries]
    if table is not None:
        found = _of_table(table, models, query, assumptions, scope)
        if paper:
            found = replace(found, notes=(f"Figures: {SOURCE}.", *found.notes))
    else:
        names = choices.named(study, models)
        found = costs.from_study(study, query, models=names, assumptions=assumptions, scope=scope)
    report = amortised(found, counts, bootstrap=bootstrap)
    if figure is not None:
        figures.save(figures.cost_against_queries(report), figure)
    return report


def _of_table(
    table: Path, models: Sequence[str] | None, query: Query, assumptions: Assumptions, scope: Scope
) -> Costs:
    """The costs of a table, which has grams and nothing of how they were obtained."""
    if models:
        raise UsageError("a table brings its own models: name models for a study, or give --table alone")
    factor = assumptions.tuning
    others = assumptions.model_copy(update={"tuning": None, "retrain_every": None})
    if others != USUAL or factor == "runs":
        raise UsageError(
            "a table gives grams already: of a life, only --tuning FACTOR and --retrain-every can be stated"
        )
    if query != ONE_STEP or scope != MODELS:
        raise UsageError("a table gives costs per query and nothing else: only a study can be asked for that")
    return costs.from_table(table, tuning=factor, retrain_every=assumptions.retrain_every)
