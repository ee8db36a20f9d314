"""What a report tells: its figures, tables and pictures, and the commands that make what is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ptprof.amortise.amortising import AmortiseReport
from ptprof.amortise.selection import Measured
from ptprof.errors import StudyError
from ptprof.frame import Loaded
from ptprof.records import Environment, Measurement, ModelRecord, RunRecord
from ptprof.report import accuracy_charts, cells, cost_charts
from ptprof.report.cells import Table
from ptprof.report.charts import Chart
from ptprof.train.recipe import in_order


@dataclass
class Content:
    """Everything that the page, the figures and the CSV files are made of.

    ``report`` is None where nothing can be amortised, and ``lacking["answer"]`` says why; the other keys of
    ``lacking`` are the names of charts, tables and pictures, each with a sentence on what makes it.
    ``grams_per_joule`` is that of training and of serving.
    """

    report: AmortiseReport | None
    models: tuple[str, ...] = ()
    records: tuple[ModelRecord, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    charts: dict[str, Chart] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    lacking: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rates:
    """Grams CO2eq of a joule of training, and of one of serving."""

    training: float
    serving: float


def from_table(report: AmortiseReport) -> Content:
    """A report of figures measured elsewhere: costs alone."""
    content = Content(report, models=tuple(model.model for model in report.models))
    _amortisation(content, report)
    elsewhere = "The table that the figures come from tells nothing of this."
    names = (
        "accuracy",
        "error",
        "rollouts",
        "runtime",
        "measurements",
        "parity",
        "environment",
        "provenance",
    )
    content.lacking = dict.fromkeys(names, elsewhere)
    return content


def from_study(
    study: Loaded,
    report: AmortiseReport | StudyError,
    measured: Sequence[Measured],
    rates: Rates,
    rollout: Callable[[], AmortiseReport],
    recipe: str | None = None,
) -> Content:
    """A report of a study: of the models compared, or of the newest of each where nothing can be compared.

    Parameters
    ----------
    report : the amortisation, or why there is none
    rollout : amortises rollouts; called where ``report`` is of single steps

    Raises
    ------
    StudyError : nothing is trained
    """
    records = [m.run for m in measured] or _newest(study, recipe)
    answer = report if isinstance(report, AmortiseReport) else None
    named = records if answer is None else answer.models
    content = Content(answer, tuple(one.model for one in named), tuple(records))
    names = {record.run for record in records}
    found = [m for m in _last(study.measurements()) if m.run in names]
    place = {model: i for i, model in enumerate(content.models)}
    found.sort(key=lambda m: (place.get(m.model, len(place)), m.scenario, m.batch))
    content.measurements = tuple(found)
    if isinstance(report, StudyError):
        content.lacking["answer"] = f"{report}."
    else:
        _amortisation(content, report)
        if report.unit == "one-step":
            _rollout_bars(content, rollout)
    _accuracy(content, records)
    _time(content, rates)
    _pinns(content, study, rates)
    _tables(content, study, measured)
    content.pictures = tuple(p for f in _fields(records) if (p := study.report / f"rollout-{f}.png").exists())
    if not content.pictures:
        content.lacking["rollouts"] = "Drawn by `ptprof evaluate`, of two models or more."
    return content


def _newest(study: Loaded, recipe: str | None) -> list[ModelRecord]:
    found = study.newest(None, recipe)
    return [found[name] for name in in_order(found)]


def _amortisation(content: Content, report: AmortiseReport) -> None:
    bars = "one-step" if report.unit == "one-step" else "rollout"
    charts = (
        cost_charts.cost(report),
        cost_charts.ratio(report),
        cost_charts.training(report),
        cost_charts.per_query(report, bars),
    )
    content.charts |= {chart.name: chart for chart in charts}
    if report.pareto is not None:
        chart = cost_charts.error_against_total(report, report.pareto.metric)
        content.charts[chart.name] = chart
    content.tables["totals"] = cells.totals(report)
    content.tables["items"] = cells.items(report)
    if report.break_even:
        content.tables["break-even"] = cells.break_even(report)


def _rollout_bars(content: Content, rollout: Callable[[], AmortiseReport]) -> None:
    try:
        content.charts["rollout"] = cost_charts.per_query(rollout(), "rollout")
    except StudyError:
        content.lacking["rollout"] = "Measured by `ptprof profile --scenario rollout`."


def _accuracy(content: Content, records: Sequence[ModelRecord]) -> None:
    runs = [record for record in records if isinstance(record, RunRecord)]
    scored = {run.model: run.accuracy for run in runs}
    if not runs:
        content.lacking["accuracy"] = content.lacking["error"] = "Scored by `ptprof train`, at its end."
        return
    chart = accuracy_charts.over_rollout(scored, runs[0].persistence, content.models)
    if chart.series:
        content.charts[chart.name] = chart
    content.tables["accuracy"] = cells.accuracy({**scored, accuracy_charts.PERSISTENCE: runs[0].persistence})
    if content.report is None:
        content.lacking["error"] = content.lacking["answer"]
    elif content.report.pareto is None:
        content.lacking["error"] = "No model has a finite error at the end of its rollout: see --pareto."


def _time(content: Content, rates: Rates) -> None:
    one_step = [m for m in content.measurements if (m.scenario, m.batch) == ("one-step", 1)]
    charts = (
        cost_charts.training_time(content.records, content.models, rates.training),
        cost_charts.query_time(one_step, content.models, rates.serving),
    )
    content.charts |= {chart.name: chart for chart in charts if chart.series}
    if not charts[0].series:
        content.lacking["runtime"] = "No training has a known energy: `ptprof train --force` meters it anew."


def _pinns(content: Content, study: Loaded, rates: Rates) -> None:
    chart = accuracy_charts.burgers(study.sweep(), rates.training)
    if chart.series:
        content.charts[chart.name] = chart
    else:
        content.lacking["burgers"] = "The physics-informed networks' sweep is made by `ptprof burgers`."


def _tables(content: Content, study: Loaded, measured: Sequence[Measured]) -> None:
    names = {record.run for record in content.records}
    content.tables["training"] = cells.training(content.records)
    artifacts = [a for a in study.artifacts() if a.run in names]
    if content.measurements:
        content.tables["measurements"] = cells.measurements(content.measurements)
    else:
        content.lacking["measurements"] = "Nothing is measured yet: `ptprof profile`."
    if artifacts:
        content.tables["parity"] = cells.parity(artifacts)
    else:
        content.lacking["parity"] = "Nothing is exported yet: `ptprof export`."
    if measured:
        content.tables["provenance"] = cells.provenance(measured)
    found: list[Environment] = [record.environment for record in content.records]
    content.tables["environment"] = cells.environments(
        [*found, *(m.environment for m in content.measurements)]
    )


def _fields(records: Sequence[ModelRecord]) -> tuple[str, ...]:
    return records[0].statistics.fields if records else ()


def _last(measurements: Iterable[Measurement]) -> list[Measurement]:
    """The last measurement of each thing that was measured, in the order of the first ones."""
    found: dict[tuple[object, ...], Measurement] = {}
    for m in measurements:
        found[m.run, m.runtime, m.device, m.scenario, m.batch, m.steps, m.precision, m.variant] = m
    return list(found.values())
