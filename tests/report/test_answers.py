"""What `ptprof query` prints."""

from __future__ import annotations

import io

from rich.console import Console

from ptprof.report.answers import Answer, FieldRange, answer

ANSWER = Answer(
    model="fno",
    url="http://127.0.0.1:8000",
    steps=50,
    shape=(5, 4, 48, 96),
    file="states.npy",
    duration_s=1.5,
    last=(FieldRange(field="tracer", lowest=-0.5, mean=0.0123, highest=0.5),),
    energy_j=2.5,
    energy_low_j=1.25,
    energy_high_j=3.75,
    co2eq_g=0.000309,
    energy_source="modelled",
    energy_components="cpu",
)


def printed(value: Answer) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(answer(value))
    return console.export_text()


def test_a_forecast_and_its_cost() -> None:
    text = printed(ANSWER)
    assert "fno: 50 steps in 1.50 s" in text
    assert "tracer" in text
    assert "0.0123" in text
    assert "2.50 J, 309 µgCO2eq: modelled (cpu)." in text
    assert "5×4×48×96 values are in states.npy." in text


def test_a_cost_that_is_not_known_says_why() -> None:
    unknown = {
        "energy_j": None,
        "co2eq_g": None,
        "energy_missing": "not metered",
        "file": None,
        "model": None,
    }
    text = printed(ANSWER.model_copy(update=unknown))
    assert "http://127.0.0.1:8000: 50 steps" in text
    assert "Energy –: not metered." in text
    assert "states.npy" not in text
