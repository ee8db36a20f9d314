"""The report: what the study tells, as a page and in the forms that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ptprof import choices
from ptprof.amortise.accuracy import Metric
from ptprof.amortise.amortising import AmortiseReport
from ptprof.amortise.assumptions import Assumptions, Conversion, stated
from ptprof.amortise.costs import MODELS, ONE_STEP, Scope
from ptprof.amortise.selection import Measured, Query, select
from ptprof.errors import StudyError, UsageError
from ptprof.frame import Loaded
from ptprof.records import PinnRecord, RunRecord
from ptprof.report import content as contents
from ptprof.report import writing
from ptprof.report.cards import card
from ptprof.report.content import Content, Rates
from ptprof.report.emissions import emissions_csv
from ptprof.report.reported import Reported
from ptprof.study import Study, write_text
from ptprof.workflows.amortising import amortise


def report(
    study: Study,
    *,
    queries: Sequence[str],
    out: Path | None = None,
    draw: bool = False,
    location: str | None = None,
    table: Path | None = None,
    paper: bool = False,
    models: Sequence[str] | None = None,
    query: Query = ONE_STEP,
    assumptions: Assumptions | None = None,
    scope: Scope = MODELS,
) -> Reported:
    """Write the page, the data behind its figures, model cards and ``emissions.csv``; figures where asked to.

    Parameters
    ----------
    out : folder; the study's ``report`` otherwise. What is in it of others stays
    draw : the figures as SVG and PNG too
    location : where the trainings were made, for the model cards
    table, paper : costs measured elsewhere in place of the study, as of `amortise`
    scope : without a metric, VRMSE at the end of the rollouts is set against carbon

    Raises
    ------
    StudyError : nothing is trained
    UsageError, TableError : what `amortise` refuses
    """
    folder = out or study.report
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder to write a report into")
    assumptions = assumptions or stated()
    read = Loaded(study.root) if table is None and not paper else None

    def amortised(query: Query, scope: Scope) -> AmortiseReport:
        return amortise(
            read or study,
            queries=queries,
            table=table,
            paper=paper,
            models=models,
            query=query,
            assumptions=assumptions,
            scope=scope,
        )

    if read is None:
        made = contents.from_table(amortised(query, scope))
    else:
        names = choices.named(study, models)
        made = _of_study(read, names, query, assumptions, scope, amortised)
    page = writing.write_page(made, folder)
    figures = writing.write_figures(made, folder) if draw else []
    data = writing.write_data(made, read, folder)
    cards, emissions = (
        ([], None) if read is None else _trainings(read, folder, assumptions.training, location)
    )
    return Reported(
        page=str(page),
        figures=tuple(map(str, figures)),
        data=tuple(map(str, data)),
        cards=tuple(map(str, cards)),
        emissions=None if emissions is None else str(emissions),
        answer=made.report,
    )


def _of_study(
    study: Loaded,
    models: Sequence[str] | None,
    query: Query,
    assumptions: Assumptions,
    scope: Scope,
    amortised: Callable[[Query, Scope], AmortiseReport],
) -> Content:
    measured: list[Measured] = []
    answer: AmortiseReport | StudyError
    try:
        measured, _ = select(study, query, models)
        answer = amortised(query, replace(scope, metric=scope.metric or _last_step(measured)))
    except StudyError as error:
        answer, measured = error, []
    return contents.from_study(
        study,
        answer,
        measured,
        Rates(assumptions.training.grams_per_joule, assumptions.serving.grams_per_joule),
        lambda: amortised(replace(query, scenario="rollout"), scope),
        query.recipe,
    )


def _last_step(measured: Sequence[Measured]) -> Metric | None:
    """VRMSE at the last step that all rollouts have; None where no model has such an error."""
    accuracies = [m.run.accuracy for m in measured if isinstance(m.run, RunRecord)]
    steps = min((len(accuracy.rollout) for accuracy in accuracies), default=0)
    metric = Metric("vrmse", steps or None)
    return metric if any(metric.error(accuracy) is not None for accuracy in accuracies) else None


def _trainings(
    study: Loaded, folder: Path, conversion: Conversion, location: str | None
) -> tuple[list[Path], Path | None]:
    """A model card for each run, and all trainings in one CSV file."""
    runs: list[RunRecord | PinnRecord] = [*study.runs(), *study.pinns()]
    texts = {run.run: text for run in runs if (text := card(run, conversion, location)) is not None}
    if not texts:
        return [], None
    path = folder / "emissions.csv"
    write_text(path, emissions_csv(runs, conversion))
    return writing.write_cards(texts, folder), path
