"""``ptprof fleet`` from the command line: forms of the answer, and one line for what cannot be."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ptprof import workflows
from ptprof.amortise.fleet_answer import FleetReport
from ptprof.cli import app
from ptprof.errors import UsageError
from ptprof.records import EnergyBreakdown, Window
from ptprof.study import Study, write_record

Make = Callable[..., Any]


@pytest.fixture
def study(tmp_path: Path, make_run: Make, make_measurement: Make, make_energy: Make) -> Study:
    """unet and fno on a CPU, calls of 10 and 12 ms."""
    study = Study(tmp_path / "study")

    def cpu(joules: float) -> EnergyBreakdown:
        return EnergyBreakdown(
            cpu=make_energy(joules, source="modelled", gain_id="cpu-model", systematic=0.5)
        )

    for model, time in (("unet", 0.010), ("fno", 0.012)):
        windows = tuple(
            Window(
                start_s=0, duration_s=10 * time, calls=10, latencies_s=(time,) * 10, energy=cpu(10 * time * w)
            )
            for w in (11.9, 12.0, 12.1)
        )
        run = make_run(model, cpu(700.0))
        write_record(study.run_folder(run.run) / "run.json", run)
        study.add_measurement(
            make_measurement(
                model,
                cpu(12 * time),
                windows=windows,
                threads=2,
                throughput_per_s={"value": 1 / time, "low": 0.99 / time, "high": 1.01 / time},
            )
        )
    return study


@pytest.fixture
def told(study: Study) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(
            app, ["--study", str(study.root), "fleet", *arguments], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_json_is_the_report_and_holds_what_was_asked(told: Make) -> None:
    text = told(
        *("--queries-per-day", "1e9", "--latency", "50ms", "--peak-to-mean", "3", "--percentile", "95"),
        *("--spares", "1", "--trainings-per-year", "2", "--intensity", "DK", "--pue", "1.2", "--json"),
    )
    document = json.loads(text)
    demand = document["demand"]
    assert demand == {
        "queries_per_day": 1e9,
        "bound_s": 0.05,
        "peak_to_mean": 3.0,
        "percentile": 95.0,
        "dispatch": "round-robin",
        "spares": 1,
        "trainings_per_year": 2.0,
    }
    first = document["fleets"][0]
    assert (first["model"], first["source"], first["projected_from"]) == ("unet", "projected", "modelled")
    # 3·10⁹ calls of 10 ms a day are 347.2 days of work.
    assert first["devices"]["least"] == 348
    assert first["kwh"]["value"] == pytest.approx(0.12 * 365.25e9 / 3.6e6)
    assert first["serving_g"]["value"] == pytest.approx(first["kwh"]["value"] * 143 * 1.2)
    FleetReport.model_validate(document)


def test_the_terminal_the_csv_and_markdown_tell_the_same(told: Make, tmp_path: Path) -> None:
    asked = ("--queries-per-day", "1e8", "--latency", "50ms")
    rows = list(csv.DictReader(io.StringIO(told(*asked, "--csv", "-"))))
    assert [row["model"] for row in rows] == ["unet", "fno"]
    assert f"{rows[0]['workers']} workers." in " ".join(told(*asked).split())
    assert f"| unet | onnxruntime | {rows[0]['workers']}" in told(*asked, "--markdown")
    told(*asked, "--csv", str(tmp_path / "fleet.csv"))
    assert list(csv.DictReader(io.StringIO((tmp_path / "fleet.csv").read_text()))) == rows


def test_named_models_and_one_batch_alone(told: Make) -> None:
    document = json.loads(told("fno", "--batch", "1", "--json"))
    assert [fleet["model"] for fleet in document["fleets"]] == ["fno"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--latency", "9ms"), "least that can be asked for is 10.0 ms"),
        (("--queries-per-day", "0"), "queries per day"),
        (("--latency", "soon"), "a latency is a time"),
        (("--csv", "-", "--json"), "one form at a time"),
        (("--lifetime-years", "3"), "--embodied-kg"),
        (("--peak-to-mean", "0.5"), "peak"),
    ],
)
def test_what_cannot_be_is_one_line(study: Study, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        CliRunner().invoke(app, ["--study", str(study.root), "fleet", *arguments], catch_exceptions=False)
    assert "\n" not in str(raised.value)


def test_an_unknown_model_suggests_the_nearest(study: Study) -> None:
    from ptprof.amortise.fleet_answer import Demand

    with pytest.raises(UsageError, match="did you mean 'unet'"):
        workflows.plan(study, Demand.of("1e6", "50ms"), models=["unett"])
