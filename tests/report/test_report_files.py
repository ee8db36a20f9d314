"""What stands beside the page: the data behind the figures, figures for a paper, model cards, emissions."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import ptprof
from ptprof import workflows
from ptprof.amortise.assumptions import Conversion
from ptprof.errors import StudyError, UsageError
from ptprof.records import EnergyBreakdown, RunRecord
from ptprof.report.cards import card
from ptprof.report.emissions import emissions_csv
from ptprof.report.writing import safe_name
from ptprof.study import Study

GRAMS_PER_JOULE = 445 / 3.6e6

#: What codecarbon 3.3.2 writes as the first line of its emissions.csv.
CODECARBON = (
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,"
    "cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,"
    "cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,"
    "longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent,gpu_utilization_percent,"
    "ram_utilization_percent,ram_used_gb,on_cloud,pue,wue"
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_data_behind_the_figures_are_the_records_own(study: Study) -> None:
    made = workflows.report(study, queries=["1e3", "1e5"])
    data = study.report / "data"
    assert {Path(path).name for path in made.data} == {path.name for path in data.iterdir()}
    assert made.answer is not None
    joules = {run.model: run.energy.joules or 0.0 for run in study.runs()}
    training = {row["name"]: float(row["training_g"]) for row in rows(data / "training.csv")}
    assert training.keys() == joules.keys()
    for model, grams in training.items():
        assert math.isclose(grams, joules[model] * GRAMS_PER_JOULE)
    for name, row in zip(made.answer.models, rows(data / "one-step.csv"), strict=True):
        figures = [float(row[f"per_query_g{end}"]) for end in ("", "_low", "_high")]
        assert figures == [name.per_query_g.value, name.per_query_g.low, name.per_query_g.high]
    for row in rows(data / "cost-against-queries.csv"):
        candidate = next(c for c in made.answer.costs.candidates if c.model == row["name"])
        total = candidate.lifetime.total(float(row["queries"]))
        assert [float(row[c]) for c in ("total_g", "total_g_low", "total_g_high")] == [
            *total.model_dump().values()
        ]
    assert len(rows(data / "break-even.csv")) == 6
    measured = {m.created + m.run + m.runtime + m.scenario: m for m in study.measurements()}
    found = rows(data / "measurements.csv")
    assert len(found) == len(measured) == 16
    for row in found:
        m = measured[row["created"] + row["run"] + row["runtime"] + row["scenario"]]
        assert float(row["energy_per_query_j"]) == m.energy_per_query.joules
        assert row["energy_per_query_gpu_j"] == ""
        assert float(row["training_j"]) == joules[m.model]


def test_accuracy_over_the_rollout_is_the_runs_own(study: Study) -> None:
    workflows.report(study, queries=["1e3"])
    found = rows(study.report / "data" / "accuracy-over-rollout.csv")
    for run in study.runs():
        line = [float(row["pearson_r"]) for row in found if row["name"] == run.model]
        assert line == [scores.mean("pearson_r") for scores in run.accuracy.rollout]


def test_figures_are_drawn_when_asked_for_as_svg_and_png(study: Study) -> None:
    made = workflows.report(study, queries=["1e3", "1e5"], draw=True)
    names = {Path(path).name for path in made.figures}
    drawn = {
        *("cost-against-queries", "training", "one-step", "rollout", "accuracy-over-rollout"),
        *("error-against-carbon", "training-time", "query-time"),
    }
    assert names == {f"{name}{kind}" for name in drawn for kind in (".svg", ".png")}
    for path in map(Path, made.figures):
        assert path.read_bytes().startswith(b"<?xml" if path.suffix == ".svg" else b"\x89PNG")


def test_without_being_asked_no_figure_is_drawn(study: Study) -> None:
    assert workflows.report(study, queries=["1e3"]).figures == ()
    assert not (study.report / "figures").exists()


def front_matter(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    (only,) = yaml.safe_load(head).items()
    assert only[0] == "co2_eq_emissions"
    found: dict[str, Any] = only[1]
    return found


def test_a_card_holds_what_the_hub_asks_for_and_nothing_that_is_not_known(study: Study) -> None:
    workflows.report(study, queries=["1e3"])
    cards = {path.stem: front_matter(path.read_text("utf-8")) for path in (study.report / "cards").iterdir()}
    assert cards.keys() == {run.run for run in study.runs()}
    for run in study.runs():
        found = cards[run.run]
        assert list(found) == ["emissions", "source", "training_type", "hardware_used"]
        assert found["emissions"] == pytest.approx((run.energy.joules or 0) * GRAMS_PER_JOULE, rel=1e-5)
        assert "cpu measured" in found["source"]
        assert "445 gCO2eq/kWh" in found["source"]
        assert found["hardware_used"] == "a CPU, 2 cores"


def test_a_cards_place_is_the_users_on_one_line(make_run: Callable[..., RunRecord], make_energy: Any) -> None:
    run = make_run("fno", EnergyBreakdown(gpu=make_energy(3.6e6)), device="cuda:1")
    machine = run.environment.model_copy(update={"gpus": ("A40", "H200")})
    run = run.model_copy(update={"environment": machine})
    place = "Québec: 'Canada'\n---\nlicense: mit"
    found = front_matter(card(run, Conversion(intensity_g_per_kwh=30, pue=1.2), place) or "")
    assert found["geographical_location"] == "Québec: 'Canada' --- license: mit"
    assert found["hardware_used"] == "H200"
    assert found["emissions"] == pytest.approx(36.0)


def test_a_run_without_energy_has_no_card_and_no_row(make_run: Callable[..., RunRecord]) -> None:
    run = make_run("fno", EnergyBreakdown(missing={"gpu": "no GPU"}))
    assert card(run, Conversion.of(445.0)) is None
    assert emissions_csv([run], Conversion.of(445.0)).strip() == CODECARBON


def test_emissions_have_codecarbons_columns_and_units(study: Study) -> None:
    workflows.report(study, queries=["1e3"])
    path = study.report / "emissions.csv"
    assert path.read_text("utf-8").splitlines()[0] == CODECARBON
    found = {row["run_id"]: row for row in rows(path)}
    for run in study.runs():
        row = found[run.run]
        kwh = (run.energy.joules or 0.0) / 3.6e6
        assert float(row["energy_consumed"]) == pytest.approx(kwh)
        assert float(row["cpu_energy"]) == pytest.approx(kwh)
        assert float(row["emissions"]) == pytest.approx(kwh * 0.445)
        assert float(row["emissions_rate"]) == pytest.approx(kwh * 0.445 / run.duration_s)
        assert row["ram_total_size"] == "8.0"
        for unknown in (
            "gpu_energy",
            "country_name",
            "region",
            "water_consumed",
            "codecarbon_version",
            "cpu_power",
        ):
            assert row[unknown] == ""


def test_a_study_is_a_data_frame(study: Study) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = ptprof.load(study.root).to_frame()
    assert len(frame) == 16
    assert frame["energy_per_query_j"].notna().all()
    assert frame["energy_per_query_gpu_j"].isna().all()
    dearest = frame.sort_values("energy_per_query_j").iloc[-1]
    assert (dearest["runtime"], dearest["scenario"], dearest["steps"]) == ("eager", "rollout", 5)
    (run,) = (run for run in study.runs() if run.run == dearest["run"])
    assert dearest["training_j"] == run.energy.joules
    assert dearest["rollout_end_vrmse"] == run.accuracy.rollout[-1].mean("vrmse")
    assert dearest["parameters"] == run.parameters


def test_a_measurement_of_a_run_that_is_elsewhere_keeps_its_own_columns(study: Study) -> None:
    (study.run_folder("run1") / "run.json").unlink()
    found = ptprof.load(study.root).rows()
    assert len(found) == 16
    assert len({tuple(row) for row in found}) == 1
    assert {row["training_j"] is None for row in found if row["run"] == "run1"} == {True}


def test_without_pandas_there_is_one_line(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        ptprof.load(study.root).to_frame()


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="not a study folder"):
        ptprof.load(tmp_path / "none")


@pytest.mark.parametrize("name", ["../../up", "/root", "..", "", "a\nb", ".hidden"])
def test_names_of_runs_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    path = (tmp_path / f"{safe_name(name)}.md").resolve()
    assert path.parent == tmp_path.resolve()
    assert not path.name.startswith(".")
