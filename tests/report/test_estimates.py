"""What an estimate says: figures with intervals, to programs and to people."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from ptprof import stats
from ptprof.errors import UsageError
from ptprof.records import ArtifactFile, ArtifactRecord, EnergyBreakdown, Interval, Parity
from ptprof.report import tables
from ptprof.report.estimates import estimate_report, estimates
from ptprof.report.format import duration

Make = Callable[..., Any]


@pytest.fixture
def both(make_energy: Make) -> EnergyBreakdown:
    """A measured GPU and a modelled CPU, projected: 3.6 MJ and 0.36 MJ."""
    projected = {"source": "projected"}
    gpu = make_energy(3.6e6, projected_from="measured", gain_id="GPU-a", systematic=0.05, **projected)
    cpu = make_energy(3.6e5, projected_from="modelled", gain_id="cpu-model", systematic=0.5, **projected)
    return EnergyBreakdown(gpu=gpu, cpu=cpu, missing={"dram": "no DRAM sensor"})


def printed(report: Any) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(estimates(report))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_an_epoch_is_a_share_of_all_with_the_same_relative_interval(
    make_estimate: Make, both: EnergyBreakdown
) -> None:
    record = make_estimate("fno", both)
    (fno,) = estimate_report([record], intensity_g_per_kwh=400.0, pue=1.5).models
    total, epoch = fno.total, fno.per_epoch
    assert total.energy_j is not None
    assert total.co2eq_g is not None
    assert epoch.energy_j is not None
    assert epoch.co2eq_g is not None
    half = stats.quadrature([0.05 * 3.6e6, 0.5 * 3.6e5])
    assert total.energy_j.model_dump() == pytest.approx(
        {"value": 3.96e6, "low": 3.96e6 - half, "high": 3.96e6 + half}
    )
    assert total.co2eq_g.value == pytest.approx(1.1 * 400 * 1.5)
    assert total.hours.model_dump() == pytest.approx({"value": 2.0, "low": 7100 / 3600, "high": 7300 / 3600})
    for whole, share in (
        (total.energy_j, epoch.energy_j),
        (total.co2eq_g, epoch.co2eq_g),
        (total.hours, epoch.hours),
    ):
        assert share.model_dump() == pytest.approx({k: v / 10 for k, v in whole.model_dump().items()})


def test_the_json_says_from_what_it_was_projected(make_estimate: Make, both: EnergyBreakdown) -> None:
    report = estimate_report([make_estimate("fno", both)])
    document = json.loads(json.dumps(report.model_dump(mode="json"), allow_nan=False))
    assert (document["intensity_g_per_kwh"], document["pue"]) == (445.0, 1.0)
    (fno,) = document["models"]
    assert (fno["source"], fno["projected_from"], fno["components"]) == (
        "projected",
        "modelled",
        ["gpu", "cpu"],
    )
    assert (fno["sampled_steps"], fno["half_width"], fno["converged"]) == (57, 0.0184, True)
    assert list(fno["per_epoch"]) == list(fno["total"]) == ["energy_j", "co2eq_g", "hours"]


def test_what_a_person_reads(make_estimate: Make, both: EnergyBreakdown) -> None:
    synthetic = "synthetic windows on the recipe's grid: reading data is not part of it"
    records = [
        make_estimate("fno", both, flags=(synthetic,)),
        make_estimate("unet", both, half_width=None, unmet="a rule", flags=("a rule", synthetic)),
    ]
    text = printed(estimate_report(records))
    assert "fno: the cost of an epoch is known to ± 1.8% after 57 steps and 34.0 s." in text
    assert "unet: how well the cost of an epoch is known cannot be told after 57 steps and 34.0 s." in text
    assert "Training by recipe quick, projected to 10 epochs" in text
    rows = [row.split() for row in text.splitlines() if row.split()[:1] == ["fno"]]
    assert " ".join(rows[0]) == "fno 396 ± 25 kJ 49.0 ± 3.1 g 12.0 ± 0.2 min projected from modelled"
    assert " ".join(rows[1]) == "fno 3.96 ± 0.25 MJ 490 ± 31 g 2.00 ± 0.03 h projected from modelled"
    assert "unet: a rule." in text
    assert "Synthetic windows on the recipe's grid: reading data is not part of it." in text
    assert "so the energy is CPU time in other words" in " ".join(text.split())
    assert "Carbon intensity 445 gCO2eq/kWh, PUE 1.0." in text


def test_without_an_energy_the_time_is_told(make_estimate: Make) -> None:
    none = EnergyBreakdown(missing={"cpu": "no sensor"})
    report = estimate_report([make_estimate("fno", none)])
    assert report.models[0].total.energy_j is None
    assert report.models[0].projected_from is None
    row = next(row for row in printed(report).splitlines() if row.split()[:1] == ["fno"])
    assert row.split() == ["fno", "–", "–", "12.0", "±", "0.2", "min", "–"]


@pytest.mark.parametrize("asked", [{"intensity_g_per_kwh": 0.0}, {"pue": 0.5}])
def test_a_grid_that_cannot_be(make_estimate: Make, both: EnergyBreakdown, asked: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        estimate_report([make_estimate("fno", both)], **asked)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Interval(value=12.34, low=12.0, high=12.68), "12.3 ± 0.3 s"),
        (Interval(value=0.123, low=0.12, high=0.126), "0.123 ± 0.003 s"),
        (Interval(value=600.0, low=570.0, high=630.0), "10.0 ± 0.5 min"),
        (Interval(value=7200.0, low=7100.0, high=7300.0), "2.00 ± 0.03 h"),
        (Interval(value=36e5), "1000 h"),
    ],
)
def test_durations_in_one_unit(figure: Interval, text: str) -> None:
    assert duration(figure) == text


def test_exports_of_what_was_not_trained_say_so(make_run: Make, both: EnergyBreakdown) -> None:
    fields: dict[str, Any] = dict.fromkeys(
        ("one_step", "rollout", "one_step_float64", "reference_float64", "gate"), 1e-7
    )
    parity = Parity(windows=4, rollout_steps=10, by_field={}, provider="CPU", **fields)
    run = make_run("unet", both)
    shared = run.model_dump(include=set(ArtifactRecord.model_fields) - {"schema_version"})
    artifacts = []
    for model, synthetic in (("unet", False), ("fno", True)):
        found = parity.model_copy(update={"synthetic": synthetic})
        file = ArtifactFile(name="model.onnx", format="onnx", sha256="x", size_bytes=1, parity=found)
        artifacts.append(ArtifactRecord(**{**shared, "model": model, "files": (file,)}))
    console = Console(file=io.StringIO(), width=100, color_system=None)
    for shown, says in ((artifacts[:1], False), (artifacts, True)):
        with console.capture() as captured:
            console.print(tables.parity(shown))
        assert ("Synthetic windows, and weights that were not trained: fno." in captured.get()) is says
