"""A fleet on paper in words, on the terminal, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from rich.console import Console

from ptprof.amortise.assumptions import Assumptions, stated
from ptprof.amortise.fleet_answer import Best, Demand, Devices, Fleet, FleetReport, TooSlow
from ptprof.records import Interval
from ptprof.report import fleet as shown


def make_fleet(model: str = "unet", tonnes: float = 1.0, **changes: Any) -> Fleet:
    grams = tonnes * 1e6
    fields: dict[str, Any] = {
        "model": model,
        "run": f"{model}-quick-s0",
        "runtime": "onnxruntime",
        "batch": 1,
        "threads": 2,
        "service_s": Interval(value=0.004, low=0.0039, high=0.0041),
        "devices": Devices(
            serving=91,
            low=88,
            high=95,
            spares=0,
            least=89,
            utilisation=0.44,
            peak_utilisation=0.88,
            latency_s=0.0123,
            filling_s=0.0,
        ),
        "queries_kwh": Interval(value=1500.0, low=1400.0, high=1600.0),
        "idle_kwh": Interval(value=500.0, low=480.0, high=520.0),
        "kwh": Interval(value=2000.0, low=1900.0, high=2100.0),
        "idle_missing": (),
        "serving_g": Interval(value=grams, low=0.9 * grams, high=1.1 * grams),
        "embodied_g": Interval(value=0.0, low=0.0, high=0.0),
        "training_g": Interval(value=80.0, low=70.0, high=90.0),
        "total_g": Interval(value=grams + 80, low=0.9 * grams, high=1.1 * grams + 80),
        "projected_from": "measured",
    }
    return Fleet(**{**fields, **changes})


def make_report(*fleets: Fleet, **changes: Any) -> FleetReport:
    fields: dict[str, Any] = {
        "demand": Demand.of("1e9", "50ms"),
        "unit": "one-step",
        "device": "cpu",
        "device_id": "a CPU",
        "components": ("cpu",),
        "intensity_g_per_kwh": 445.0,
        "pue": 1.0,
        "fleets": fleets,
        "too_slow": (),
        "cheapest": Best(model=fleets[0].model, runtime="onnxruntime", batch=1, tied_with=()),
        "assumptions": Assumptions.at(445.0),
        "notes": (),
    }
    return FleetReport(**{**fields, **changes})


def terminal(report: FleetReport, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(shown.fleets(report))
    return console.export_text()


def test_words_come_first_and_say_that_it_is_a_projection() -> None:
    report = make_report(make_fleet(), make_fleet("fno", 1.5))
    text = terminal(report, 300)
    assert text.startswith(
        "For 10⁹ queries a day, 99 % of them within 50.0 ms, unet on onnxruntime has the least total:"
        " 1.00 ± 0.10 t CO2eq a year, 91 workers."
    )
    assert "Projected from measured calls of one worker, not measured." in text
    assert "A query is one step, a worker 2 threads of a CPU; energy of cpu." in text
    assert "The peak is 2 times the mean (given). All workers are there all year." in text
    assert "Carbon intensity 445 gCO2eq/kWh, PUE 1.0" in text


def test_the_table_fits_a_hundred_columns() -> None:
    text = terminal(make_report(make_fleet(), make_fleet("unet-cn-cp", 15.0)))
    (line,) = (line for line in text.splitlines() if line.startswith(" unet-cn-cp"))
    cells = " ".join(line.split())
    assert cells == "unet-cn-cp onnxruntime 91 (88–95) 88% 12.3 ms 2.00 ± 0.10 MWh 25% 80.0 g 15.0 ± 1.5 t"


def test_who_cannot_be_told_apart_is_named() -> None:
    best = Best(model="unet", runtime="onnxruntime", batch=1, tied_with=("fno on eager", "tfno on pt2"))
    (sentence,) = shown.answer(make_report(make_fleet(), cheapest=best))
    assert sentence.endswith("91 workers, but fno on eager and tfno on pt2 cannot be told apart from it.")


def test_spares_batches_and_open_ends_stand_with_the_number() -> None:
    devices = make_fleet().devices.model_copy(update={"spares": 1, "high": None})
    report = make_report(make_fleet(devices=devices, batch=8))
    assert "91+1 (88–∞)" in terminal(report)
    (sentence,) = shown.answer(report)
    assert "unet on onnxruntime at batch 8 has" in sentence
    assert sentence.endswith("92 workers, 1 of them spare.")
    assert any(
        "no number of workers does for unet on onnxruntime at batch 8" in s for s in shown.explained(report)
    )


def test_what_is_missing_or_modelled_or_too_slow_is_said() -> None:
    waiting = {"idle_missing": ("cpu",), "projected_from": "modelled"}
    slow = (
        TooSlow(model="fno", runtime="eager", batch=1, least_s=0.06),
        TooSlow(model="tfno", runtime="eager", batch=1, least_s=0.07),
    )
    report = make_report(make_fleet(**waiting), too_slow=slow, notes=("A note.",))
    said = shown.explained(report)
    assert (
        "Idle power is not known of cpu: what waits counts nothing there, and totals are too small." in said
    )
    assert "Energy is modelled: CPU seconds × watts per core." in said
    assert (
        "Too slow with any number of workers: 2 of 3; the first of them, fno on eager, could meet 60.0 ms."
        in said
    )
    assert said[-1] == "A note."
    (head,) = (line for line in terminal(report).splitlines() if line.startswith(" model"))
    assert "idle" not in head


def test_what_is_paid_beside_is_said_as_given() -> None:
    made = stated(embodied_kg=150.0, lifetime_years=4.0)
    report = make_report(
        make_fleet(), assumptions=made, demand=Demand.of("1e9", "50ms", trainings_per_year=12)
    )
    assert (
        "Totals hold queries, 12 trainings a year and 150 kg for making each worker over 4 years (given)."
        in shown.explained(report)
    )


def test_the_csv_has_a_line_for_each_fleet_and_nothing_for_what_is_not_known() -> None:
    report = make_report(make_fleet(), make_fleet("fno", idle_missing=("cpu",)))
    unet, fno = csv.DictReader(io.StringIO(shown.as_csv(report)))
    assert (unet["model"], unet["workers"], unet["workers_low"], unet["workers_at_least"]) == (
        "unet",
        "91",
        "88",
        "89",
    )
    assert (float(unet["kwh"]), float(unet["kwh_high"]), float(unet["idle_kwh"])) == (2000.0, 2100.0, 500.0)
    assert (fno["idle_kwh"], fno["source"], fno["projected_from"]) == ("", "projected", "measured")
    assert tuple(unet) == shown.COLUMNS


def test_markdown_holds_the_answer_and_the_table() -> None:
    text = shown.as_markdown(make_report(make_fleet()))
    assert text.startswith("**For 10⁹ queries a day")
    assert (
        "| unet | onnxruntime | 91 (88–95) | 88% | 12.3 ms | 2.00 ± 0.10 MWh | 25% | 80.0 g |"
        " 1.00 ± 0.10 t |" in text
    )


@pytest.mark.parametrize(
    ("grams", "text"), [(80.0, "80.0 g"), (2500.0, "2.50 kg"), (1e6, "1.00 t"), (3.2e9, "3.20 kt")]
)
def test_from_a_tonne_on_grams_are_tonnes(grams: float, text: str) -> None:
    assert shown.mass(Interval(value=grams)) == text
