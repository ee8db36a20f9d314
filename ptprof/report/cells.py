"""The tables of the page: columns, and cells as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ptprof.amortise.amortising import AmortiseReport
from ptprof.amortise.selection import Measured
from ptprof.profile.roof import Roof, roof
from ptprof.records import (
    Accuracy,
    ArtifactRecord,
    EnergyBreakdown,
    Environment,
    EstimateRecord,
    Measurement,
    ModelRecord,
    Scores,
    Value,
)
from ptprof.report import words
from ptprof.report.charts import Chart
from ptprof.report.format import (
    NONE,
    count,
    energy,
    interval,
    prefixed,
    seconds,
    significant,
    size,
    sources,
    tiny,
)

MOST_ROWS = 200
"""Of measurements in the page; the rest stands in the CSV."""


_PAID = {"once": "once", "training": "with each training", "query": "with each query"}


class Table(Value):
    """A table; the first ``text`` columns hold text, the others numbers, and the first one names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: int = 1
    note: str = ""


def break_even(report: AmortiseReport) -> Table:
    """Where each pair costs the same, and what can be said of it."""
    rows = [
        (
            f"{pair.a} / {pair.b}",
            words.verdict(report, pair),
            count(pair.queries),
            NONE if pair.low is None and pair.high is None else count(pair.low or 0.0, 3),
            NONE if pair.low is None and pair.high is None else _or_infinite(pair.high),
        )
        for pair in report.break_even
    ]
    return Table(
        caption="Break-even points, every pair",
        columns=("pair", "verdict", "queries", "not told apart from", "to"),
        rows=tuple(rows),
        text=2,
    )


def _or_infinite(value: float | None) -> str:
    return "∞" if value is None else count(value, 3)


def totals(report: AmortiseReport) -> Table:
    """The totals at the numbers of queries that were asked for."""
    return Table(
        caption="Training and queries together, CO2eq, ± 95 %",
        columns=("model", *(f"{count(n)} queries" for n in report.queries)),
        rows=tuple(
            (
                model.model,
                *(
                    prefixed(t.total_g, "g", None if t.high is None else t.high - t.total_g)
                    for t in model.totals
                ),
            )
            for model in report.models
        ),
    )


def items(report: AmortiseReport) -> Table:
    """What each model's cost is made of, and how each figure was obtained."""
    rows = [
        (model.model, item.what, _PAID[item.paid], item.source, prefixed(item.grams, "g"))
        for model in report.models
        for item in model.items
    ]
    return Table(
        caption="What the costs are made of, CO2eq",
        columns=("model", "what", "paid", "source", "grams"),
        rows=tuple(rows),
        text=4,
    )


def of_chart(chart: Chart) -> Table:
    """The figures of bars or points."""
    columns = [axis.label for axis in (chart.x, chart.y) if axis is not None]
    rows = [
        (
            series.name,
            *([point.note] if chart.kind == "points" else []),
            *(
                interval(figure, axis.unit) if axis.unit else significant(figure.value)
                for axis, figure in ((chart.x, point.x), (chart.y, point.y))
                if axis is not None and figure is not None
            ),
        )
        for series in chart.series
        for point in series.points
    ]
    first = ("model", "of") if chart.kind == "points" else ("model",)
    return Table(caption=chart.title, columns=(*first, *columns), rows=tuple(rows), text=len(first))


def accuracy(models: Mapping[str, Accuracy]) -> Table:
    """Accuracy after one step and at the end of a rollout, mean over fields."""
    steps = min(len(a.rollout) for a in models.values())
    rows = [
        (name, *_scores(a.one_step), *(_scores(a.rollout[steps - 1]) if steps else ()))
        for name, a in models.items()
    ]
    last = (f"r, step {steps}", f"VRMSE, step {steps}") if steps else ()
    return Table(
        caption="Accuracy on the test split, mean over fields",
        columns=("model", "r, one step", "VRMSE, one step", *last),
        rows=tuple(rows),
    )


def _scores(scores: Scores) -> tuple[str, str]:
    r, vrmse = scores.mean("pearson_r"), scores.mean("vrmse")
    return NONE if r is None else f"{r:.4f}", NONE if vrmse is None else significant(vrmse)


def measurements(records: Sequence[Measurement]) -> Table:
    """Latency, throughput, memory and energy of what was measured; where a step stands, if that is known."""
    shown, left_out = records[:MOST_ROWS], len(records) - MOST_ROWS
    roofs = [roof(m) for m in shown]
    with_roofs = any(roofs)
    note = "Latency: median of a call. ±: 95 %."
    if with_roofs:
        note += " Of the roofline: the time that a step must take at the least, and what sets it."
    if left_out > 0:
        note += f" {left_out} more stand in data/measurements.csv."
    return Table(
        caption="Measurements",
        columns=(
            *("model", "runtime", "device", "query", "source"),
            *("batch", "latency", "throughput, 1/s", "memory", "energy per query"),
            *(("of the roofline",) if with_roofs else ()),
        ),
        rows=tuple(
            (*_measured(m), *((_roof(found),) if with_roofs else ()))
            for m, found in zip(shown, roofs, strict=True)
        ),
        text=5,
        note=note,
    )


def _roof(found: Roof | None) -> str:
    return NONE if found is None else f"{found.share:.0%}, {found.limited_by}"


def _measured(m: Measurement) -> tuple[str, ...]:
    return (
        m.model if m.nfe is None else f"{m.model} nfe {m.nfe}",
        m.runtime if m.precision == "fp32" else f"{m.runtime} {m.precision}",
        m.device,
        f"{m.steps} steps" if m.scenario == "rollout" else m.scenario.replace("-", " "),
        sources(m.energy_per_query.present.values()),
        f"{m.batch}",
        interval(m.latency_s, "s"),
        prefixed(m.throughput_per_s.value, "").rstrip(),
        size(m.peak_host_bytes if m.peak_device_bytes is None else m.peak_device_bytes),
        _energy(m.energy_per_query),
    )


def _energy(breakdown: EnergyBreakdown) -> str:
    return energy(breakdown) if breakdown.present else NONE


def training(records: Sequence[ModelRecord]) -> Table:
    """What was trained, for how long, and what that took."""
    rows = [
        (
            record.model,
            "projected" if isinstance(record, EstimateRecord) else record.recipe,
            record.device,
            sources(record.energy.present.values()),
            f"{record.parameters:,}",
            f"{record.epochs}",
            seconds(record.duration_s),
            _energy(record.energy),
        )
        for record in records
    ]
    return Table(
        caption="Trained models",
        columns=("model", "recipe", "device", "source", "parameters", "epochs", "time", "energy"),
        rows=tuple(rows),
        text=4,
    )


def parity(artifacts: Iterable[ArtifactRecord]) -> Table:
    """How far each exported file is from the model that was trained."""
    rows = [
        (
            artifact.model,
            file.name,
            file.parity.provider,
            size(file.size_bytes),
            *map(tiny, (file.parity.one_step, file.parity.rollout, file.parity.one_step_float64)),
            *map(tiny, (file.parity.reference_float64, file.parity.gate)),
        )
        for artifact in artifacts
        for file in artifact.files
    ]
    return Table(
        caption="Exports: relative L2 distance on test windows",
        columns=(
            *("model", "file", "run by", "size", "one step", "rollout"),
            *("to float64", "trained model to float64", "gate"),
        ),
        rows=tuple(rows),
        text=3,
        note="One step and rollout: from the trained model. To float64: from the same model in float64, which"
        " the gate bounds.",
    )


def provenance(measured: Sequence[Measured]) -> Table:
    """What each figure of the comparison rests on."""
    rows = []
    for m in measured:
        flags = dict.fromkeys(
            flag
            for breakdown in (m.run.energy, m.measurement.energy_per_query)
            for figure in breakdown.present.values()
            for flag in figure.flags
        )
        rows.append(
            (
                m.run.model,
                m.run.run,
                _sensors(m.run.energy),
                f"{m.measurement.runtime} ({m.measurement.provider})",
                f"{_sensors(m.measurement.energy_per_query)}; {m.measurement.protocol} protocol,"
                f" {len(m.measurement.windows)} windows",
                "; ".join([*m.measurement.flags, *flags]) or NONE,
            )
        )
    return Table(
        caption="Where each figure comes from",
        columns=("model", "run", "training", "runtime", "query", "notes"),
        rows=tuple(rows),
        text=6,
    )


def _sensors(breakdown: EnergyBreakdown) -> str:
    return "; ".join(f"{c} {e.source} by {e.sensor}" for c, e in breakdown.present.items()) or NONE


def environments(found: Iterable[Environment]) -> Table:
    """The machines that the figures were obtained on, each a column."""
    machines = list({m.model_dump_json(): m for m in found}.values())
    facts = [
        ("CPU", [m.cpu for m in machines]),
        ("cores", [f"{m.cpu_cores}" for m in machines]),
        ("memory", [size(m.memory_bytes) for m in machines]),
        ("GPUs", [", ".join(m.gpus) or "none" for m in machines]),
        ("driver", [m.driver or NONE for m in machines]),
        ("platform", [m.platform for m in machines]),
        ("Python", [m.python for m in machines]),
    ]
    libraries = dict.fromkeys(name for m in machines for name in m.libraries)
    facts += [(name, [m.libraries.get(name, NONE) for m in machines]) for name in libraries]
    heads = ["machine"] if len(machines) == 1 else [f"machine {i}" for i in range(1, len(machines) + 1)]
    return Table(
        caption="Machines and versions",
        columns=("part", *heads),
        rows=tuple((name, *cells) for name, cells in facts),
        text=1 + len(machines),
    )
