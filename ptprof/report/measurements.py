"""What a query takes, as tables: one for each scenario, batch and device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ptprof.profile.paper import inference_g
from ptprof.profile.roof import roof
from ptprof.records import Energy, Measurement, Percentile
from ptprof.report.format import NONE, energy, interval, prefixed, seconds, significant, size, sources
from ptprof.report.style import row, table

MODELLED_NOTE = "modelled: CPU seconds × watts per core, so the figure is CPU time in other words\n"
TOO_FEW = "n/a"


def measurements(records: Iterable[Measurement], percentiles: bool = False) -> RenderableType:
    """Latency, throughput, memory and energy; cold starts, loads and the paper's protocol have their own
    tables.

    Parameters
    ----------
    percentiles : show those of each, too; of a load they are always shown
    """
    groups: dict[str, list[Measurement]] = {}
    for m in records:
        groups.setdefault(_title(m), []).append(m)
    if not groups:
        return Text("Nothing is measured.")
    tables: list[RenderableType] = []
    for title, group in groups.items():
        first = group[0]
        if first.paper is not None:
            tables.append(_paper(title, group))
        elif first.scenario == "cold-start":
            tables.append(_cold_starts(title, group))
        elif first.scenario == "load":
            tables += [_load(title, group), _percentiles(group, "Response times of these calls")]
        else:
            tables.append(_closed_loop(title, group))
            if percentiles:
                tables.append(_percentiles(group, "Service times of these calls, sent one after the other"))
        if any(roof(m) is not None for m in group):
            tables.append(_roofline(group))
    everything = [m for group in groups.values() for m in group]
    return Group(*tables, *modelled(m.energy_per_query.present.values() for m in everything))


def modelled(energies: Iterable[Iterable[Energy]]) -> list[Text]:
    """The note that stands under modelled figures, where there are any."""
    some = any(e.source == "modelled" for group in energies for e in group)
    return [Text(MODELLED_NOTE)] if some else []


def _title(m: Measurement) -> str:
    if m.paper is not None:
        what = "one-step forecasts" if m.scenario == "one-step" else f"rollouts of {m.steps} steps"
        return f"The paper's protocol: {m.paper.queries:,} {what}, {m.paper.repetitions} times, {m.device}"
    what = {
        "one-step": "One step",
        "rollout": f"Rollout of {m.steps} steps",
        "cold-start": "Cold start",
        "load": "One step under load",
    }[m.scenario]
    if m.load is not None:
        what += f", {m.load.rate_per_s:g} calls/s for {m.load.duration_s:g} s, {len(m.windows)} times"
    return f"{what}, batch {m.batch}, {m.device}, {m.protocol} protocol"


def _closed_loop(title: str, group: Sequence[Measurement]) -> Table:
    on_gpu = any(m.peak_device_bytes is not None for m in group)
    memory = ("host memory", "GPU memory") if on_gpu else ("memory",)
    columns = ("latency", "throughput", *memory, "energy per query", "source")
    made = table(title, ("model", "runtime"), columns)
    _fill(
        made,
        group,
        lambda m: [
            interval(m.latency_s, "s"),
            f"{prefixed(m.throughput_per_s.value, '').rstrip()}/s",
            size(m.peak_host_bytes),
            *([size(m.peak_device_bytes)] if on_gpu else []),
            energy(m.energy_per_query),
            sources(m.energy_per_query.present.values()),
        ],
        "latency: median of a call; ± is 95 %",
    )
    return made


def _load(title: str, group: Sequence[Measurement]) -> Table:
    made = table(
        title,
        ("model", "runtime"),
        ("response", "service", "load", "busy", "waiting", "energy per query", "source"),
    )

    def cells(m: Measurement) -> list[str]:
        if m.load is None:
            return [NONE] * 7
        return [
            interval(m.latency_s, "s"),
            seconds(m.load.service_s.value),
            f"{m.load.offered_load:.0%}",
            f"{m.load.utilisation:.0%}",
            significant(m.load.backlog, 2),
            energy(m.energy_per_query),
            sources(m.energy_per_query.present.values()),
        ]

    caption = (
        "response: median, from when a call was meant to be sent; service: mean;\nload: work that arrives"
        " over work that can be done; waiting: calls not answered\nwhen arrivals ended; energy: of all time"
    )
    _fill(made, group, cells, caption)
    return made


def _percentiles(group: Sequence[Measurement], title: str) -> Table:
    names = [f"p{p.p:g}" for p in group[0].percentiles]
    made = table(title, ("model", "runtime"), (*names, "calls"))
    for m in group:
        calls = f"{m.percentiles[0].samples:,}" if m.percentiles else NONE
        row(made, *_names(m), *map(_percentile, m.percentiles), calls)
    made.caption = Text("between two order statistics at 95 %; n/a: too few calls to say\n")
    return made


def _percentile(found: Percentile) -> str:
    if found.seconds is None:
        return TOO_FEW
    if found.low is None or found.high is None:
        return seconds(found.seconds)
    value, unit = prefixed(found.seconds, "s").split(" ")
    scale = float(value) / found.seconds if found.seconds else 1.0
    low, high = (significant(bound * scale) for bound in (found.low, found.high))
    return f"{value} ({low}–{high}) {unit}"


def _cold_starts(title: str, group: Sequence[Measurement]) -> Table:
    columns = ("in all", "import", "load", "prepare", "first query", "next query", "energy")
    made = table(title, ("model", "runtime"), columns)

    def cells(m: Measurement) -> list[str]:
        if m.phases is None:
            return [NONE] * len(columns)
        p = m.phases
        times = (p.start_s.value + p.import_s.value, p.load_s.value, p.prepare_s.value, p.first_query_s.value)
        return [
            interval(m.latency_s, "s"),
            *map(seconds, times),
            seconds(p.next_query_s.value),
            energy(m.energy_per_query),
        ]

    caption = (
        f"means of {len(group[0].windows)} fresh processes; in all: from no process to the first answer;"
        " import: Python\nand libraries; prepare: the query's buffers; next query: to compare, not summed"
    )
    _fill(made, group, cells, caption)
    return made


def _roofline(group: Sequence[Measurement]) -> Table:
    made = table(
        "Against what this machine does at best, per step of a call",
        ("model", "runtime"),
        ("operations", "bytes", "per byte", "at least", "share", "limited by"),
    )
    peaks = None
    for m in group:
        found = roof(m)
        if found is None or m.work is None:
            row(made, *_names(m), *[NONE] * 6)
            continue
        peaks = m.work
        row(
            made,
            *_names(m),
            prefixed(m.work.flops, "").rstrip(),
            size(round(m.work.bytes)),
            significant(found.intensity),
            seconds(found.least_s),
            f"{found.share:.1%}",
            found.limited_by,
        )
    if peaks is not None:
        made.caption = Text(
            f"measured at best: {prefixed(peaks.peak_flops_per_s, 'FLOP/s')},"
            f" {prefixed(peaks.peak_bytes_per_s, 'B/s')} of memory; bytes: weights, state and forecast once\n"
        )
    return made


def _paper(title: str, group: Sequence[Measurement]) -> Table:
    columns = ("time", "loading", "ours", "by Carbontracker", "per query", "Table 2's", "source")
    made = table(title, ("model", "runtime"), columns)
    published = inference_g() if group[0].scenario == "one-step" else {}

    def cells(m: Measurement) -> list[str]:
        if m.paper is None:
            return [NONE] * len(columns)
        ours, theirs = m.paper.ours_g, m.paper.carbontracker_g
        return [
            seconds(sum(w.duration_s for w in m.windows) / len(m.windows)),
            seconds(m.paper.load_s.value),
            NONE if ours is None else interval(ours, "g"),
            NONE if theirs is None else interval(theirs, "g"),
            prefixed(None if ours is None else ours.value / m.paper.queries, "g"),
            prefixed(published.get(m.model), "g"),
            sources(m.energy_per_query.present.values()),
        ]

    figures = [m.paper for m in group if m.paper is not None]
    lines = [
        f"grams CO2eq at {figures[0].intensity_g_per_kwh:g} g/kWh and a PUE of {figures[0].pue:g}, loading"
        " included; mean\nof the passes, ± 95 % over passes, the meter's own gain apart; Table 2's: per"
        " query, on an A40\nand the paper's grid"
    ]
    lines += dict.fromkeys(f"no figure by Carbontracker: {p.missing}" for p in figures if p.missing)
    lines += dict.fromkeys(note for p in figures for note in p.notes)
    _fill(made, group, cells, "\n".join(lines))
    return made


def _fill(
    made: Table, group: Sequence[Measurement], cells: Callable[[Measurement], Sequence[str]], caption: str
) -> None:
    """A row for each, its flags as numbered notes below the caption."""
    notes = list(dict.fromkeys(flag for m in group for flag in _flags(m)))
    if notes:
        made.add_column("note", justify="right")
    for m in group:
        marks = " ".join(f"{notes.index(flag) + 1}" for flag in _flags(m))
        row(made, *_names(m), *cells(m), *([marks] if notes else []))
    footnotes = "".join(f"{i}: {note}\n" for i, note in enumerate(notes, 1))
    made.caption = Text(f"{caption}\n{footnotes}")


def _names(m: Measurement) -> tuple[str, str]:
    model = m.model if m.nfe is None else f"{m.model} nfe {m.nfe}"
    return model, m.runtime if m.precision == "fp32" else f"{m.runtime} {m.precision}"


def _flags(m: Measurement) -> tuple[str, ...]:
    return m.flags if m.flags or m.converged else ("not converged",)
