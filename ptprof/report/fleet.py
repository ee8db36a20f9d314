"""The fleet that a volume of queries needs: in words, as a table, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from rich.console import Group, RenderableType

from ptprof.amortise.fleet_answer import Devices, Fleet, FleetReport
from ptprof.records import Interval
from ptprof.report.format import NONE, count, interval, listed, prefixed
from ptprof.report.style import paragraph, row, table
from ptprof.report.tabular import ends, markdown_table
from ptprof.report.words import conversion_of

GRAMS_PER_TONNE = 1e6
DISPATCH = {
    "round-robin": "Calls go to the workers in turn: no sooner answered than from one queue for all.",
    "random": "Calls go to the workers at random, each with a queue of its own.",
}
COLUMNS = (
    "model",
    "runtime",
    "batch",
    "service_s",
    "workers",
    "workers_low",
    "workers_high",
    "spares",
    "workers_at_least",
    "utilisation",
    "peak_utilisation",
    "latency_s",
    "queries_kwh",
    "idle_kwh",
    "kwh",
    "kwh_low",
    "kwh_high",
    "serving_g",
    "embodied_g",
    "training_g",
    "total_g",
    "total_g_low",
    "total_g_high",
    "source",
    "projected_from",
)


def answer(report: FleetReport) -> list[str]:
    """Which fleet has the least total, and who cannot be told from it."""
    best, demand = report.fleets[0], report.demand
    noun = "query" if demand.queries_per_day == 1 else "queries"
    sentence = (
        f"For {count(demand.queries_per_day)} {noun} a day, {demand.percentile:g} % of them within"
        f" {prefixed(demand.bound_s, 's')}, {best.name} has the least total: {mass(best.total_g)} CO2eq a"
        f" year, {_workers(best.devices)}"
    )
    tied = report.cheapest.tied_with
    return [f"{sentence}, but {listed(tied)} cannot be told apart from it." if tied else f"{sentence}."]


def explained(report: FleetReport) -> list[str]:
    """What the projection rests on, and what it leaves out."""
    demand, stated = report.demand, report.assumptions
    what = "one step" if report.unit == "one-step" else f"a {report.unit}"
    return [
        "Projected from measured calls of one worker, not measured.",
        f"A query is {what}, a worker {_worker(report)}; energy of {'+'.join(report.components)}.",
        f"The peak is {demand.peak_to_mean:g} times the mean (given). All workers are there all year.",
        DISPATCH[demand.dispatch],
        f"Carbon intensity {conversion_of(stated.serving)}; energy is that of the machines, without PUE.",
        f"Totals hold {_yearly(report)}.",
        *_lacking(report),
        *report.notes,
    ]


def _yearly(report: FleetReport) -> str:
    trainings, made = report.demand.trainings_per_year, report.assumptions.embodied
    parts = ["queries", f"{trainings:g} training{'s' * (trainings != 1)} a year"]
    if made is not None:
        parts.append(f"{made.kg:g} kg for making each worker over {made.lifetime_years:g} years (given)")
    return listed(parts)


def _lacking(report: FleetReport) -> list[str]:
    sentences = []
    if missing := sorted({component for fleet in report.fleets for component in fleet.idle_missing}):
        sentences.append(
            f"Idle power is not known of {listed(missing)}: what waits counts nothing there, and totals are"
            " too small."
        )
    if "modelled" in {fleet.projected_from for fleet in report.fleets}:
        sentences.append("Energy is modelled: CPU seconds × watts per core.")
    if strained := [f.name for f in report.fleets if f.devices.low is not None and f.devices.high is None]:
        sentences.append(
            "If calls take as long as their interval allows, no number of workers does for"
            f" {listed(strained)}; that is not in the totals' intervals."
        )
    if report.too_slow:
        least = report.too_slow[0]
        slow, known = len(report.too_slow), len(report.too_slow) + len(report.fleets)
        sentences.append(
            f"Too slow with any number of workers: {slow} of {known}; the first of them, {least.model} on"
            f" {least.runtime}, could meet {prefixed(least.least_s, 's')}."
        )
    return sentences


def fleets(report: FleetReport) -> RenderableType:
    """The whole answer for the terminal."""
    made = table("Fleets, a year of each", _head(report)[0], _head(report)[1])
    for fleet in report.fleets:
        row(made, *_cells(report, fleet))
    made.caption = (
        "workers: (at the ends of the interval of a call's time); busy: of the time, at the peak\n"
        "± 95 %, of service time, energy and idle power together\n"
    )
    return Group(paragraph(answer(report), "bold"), paragraph(explained(report)), made)


def as_markdown(report: FleetReport) -> str:
    """The answer in words, then the table."""
    text, numbers = _head(report)
    parts = [
        "\n".join(f"**{sentence}**" for sentence in answer(report)),
        "\n".join(f"- {sentence}" for sentence in explained(report)),
        markdown_table((*text, *numbers), (_cells(report, fleet) for fleet in report.fleets)),
    ]
    return "\n\n".join(parts) + "\n"


def as_csv(report: FleetReport) -> str:
    """A line for each fleet, by rising total; an empty cell is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for fleet in report.fleets:
        devices = fleet.devices
        idle = fleet.idle_kwh.value if not fleet.idle_missing else None
        writer.writerow(
            (
                *(fleet.model, fleet.runtime, fleet.batch, fleet.service_s.value),
                *(devices.serving, devices.low, devices.high, devices.spares, devices.least),
                *(devices.utilisation, devices.peak_utilisation, devices.latency_s),
                *(fleet.queries_kwh.value, idle, *ends(fleet.kwh)),
                *(
                    fleet.serving_g.value,
                    fleet.embodied_g.value,
                    fleet.training_g.value,
                    *ends(fleet.total_g),
                ),
                *(fleet.source, fleet.projected_from),
            )
        )
    return text.getvalue()


def mass(grams: Interval) -> str:
    """Grams, kilograms or, from a tonne on, tonnes."""
    if grams.value < GRAMS_PER_TONNE:
        return interval(grams, "g")
    low, high = (None if end is None else end / GRAMS_PER_TONNE for end in (grams.low, grams.high))
    return interval(Interval(value=grams.value / GRAMS_PER_TONNE, low=low, high=high), "t")


def _head(report: FleetReport) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of columns of text, and of numbers; only those in which rows differ or know something."""
    batch = ("batch",) if _batched(report) else ()
    idle = ("idle",) if _idle_known(report) else ()
    percentile = f"p{report.demand.percentile:g}"
    return ("model", "runtime"), (
        *(*batch, "workers", "busy", percentile, "energy", *idle),
        *("training", "CO2eq"),
    )


def _cells(report: FleetReport, fleet: Fleet) -> Sequence[str]:
    devices, kwh = fleet.devices, fleet.kwh
    low, high = (None if end is None else end * 1e3 for end in (kwh.low, kwh.high))
    idle = NONE if fleet.idle_missing else f"{fleet.idle_kwh.value / kwh.value:.0%}"
    return (
        *(fleet.model, fleet.runtime),
        *((str(fleet.batch),) if _batched(report) else ()),
        _span(devices),
        f"{devices.peak_utilisation:.0%}",
        prefixed(devices.latency_s, "s"),
        interval(Interval(value=kwh.value * 1e3, low=low, high=high), "Wh"),
        *((idle,) if _idle_known(report) else ()),
        prefixed(fleet.training_g.value, "g"),
        mass(fleet.total_g),
    )


def _batched(report: FleetReport) -> bool:
    return any(fleet.batch != 1 for fleet in report.fleets)


def _idle_known(report: FleetReport) -> bool:
    return not all(fleet.idle_missing for fleet in report.fleets)


def _span(devices: Devices) -> str:
    spares = f"+{devices.spares}" if devices.spares else ""
    if devices.low is None or devices.low == devices.high:
        return f"{devices.serving}{spares}"
    # At the slower end of the interval, no number may do.
    return f"{devices.serving}{spares} ({devices.low}–{'∞' if devices.high is None else devices.high})"


def _workers(devices: Devices) -> str:
    spares = "" if not devices.spares else f", {devices.spares} of them spare"
    return f"{devices.owned:,} worker{'s' * (devices.owned != 1)}{spares}"


def _worker(report: FleetReport) -> str:
    threads = {fleet.threads for fleet in report.fleets}
    if report.device.startswith("cuda") or threads == {None}:
        return report.device_id
    counts = listed(str(number) for number in sorted(number for number in threads if number is not None))
    return f"{counts} thread{'s' * (counts != '1')} of {report.device_id}"
