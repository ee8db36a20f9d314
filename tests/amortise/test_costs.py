"""Costs from a study: which run and measurement count, which joules, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof import stats
from ptprof.amortise import costs
from ptprof.amortise.amortising import AmortiseReport, ModelReport
from ptprof.amortise.assumptions import Assumptions
from ptprof.amortise.costs import Query
from ptprof.errors import PtprofError, StudyError, UsageError
from ptprof.records import Energy, EnergyBreakdown, EstimateRecord, Measurement, Record, RunRecord, Window
from ptprof.study import Study, write_record

Make = Callable[..., Any]
MODELLED = {"source": "modelled", "gain_id": "cpu-model", "systematic": 0.5}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "study")


@pytest.fixture
def add(study: Study) -> Callable[..., None]:
    """Put records into the study."""

    def put(*records: Record) -> None:
        for record in records:
            if isinstance(record, RunRecord):
                write_record(study.run_folder(record.run) / "run.json", record)
            elif isinstance(record, EstimateRecord):
                write_record(study.run_folder(record.run) / "estimate.json", record)
            elif isinstance(record, Measurement):
                study.add_measurement(record)

    return put


@pytest.fixture
def cpu(make_energy: Make) -> Callable[..., EnergyBreakdown]:
    """Energy of the CPU alone, modelled unless said otherwise."""
    return lambda joules, **changes: EnergyBreakdown(cpu=make_energy(joules, **{**MODELLED, **changes}))


@pytest.fixture
def two(add: Make, make_run: Make, make_measurement: Make, cpu: Make) -> None:
    """unet: dear to train, cheap to ask; fno the other way round."""
    add(make_run("unet", cpu(1000.0)), make_run("fno", cpu(100.0)))
    add(make_measurement("unet", cpu(1.0)), make_measurement("fno", cpu(3.0)))


def amortise_study(
    study: Study,
    queries: list[float],
    *,
    models: list[str] | None = None,
    intensity_g_per_kwh: float = 445.0,
    pue: float = 1.0,
    **query: Any,
) -> AmortiseReport:
    """What `costs.amortise_study` gives for a query told word by word."""
    assumptions = Assumptions.at(intensity_g_per_kwh, pue)
    return costs.amortise_study(study, queries, Query(**query), models=models, assumptions=assumptions)


def model(report: AmortiseReport, name: str) -> ModelReport:
    return next(m for m in report.models if m.model == name)


@pytest.mark.usefixtures("two")
def test_grams_are_joules_by_intensity_and_pue(study: Study) -> None:
    report = amortise_study(study, [1e3], intensity_g_per_kwh=360.0, pue=1.5)
    unet = model(report, "unet")
    assert unet.training_g.value == pytest.approx(1000 / 3.6e6 * 360 * 1.5)
    assert unet.per_query_g.value == pytest.approx(1.5e-4)
    assert unet.training_g.high == pytest.approx(1.5 * unet.training_g.value)
    assert unet.totals[0].total_g == pytest.approx(2000 * 1.5e-4)
    assert (report.unit, report.intensity_g_per_kwh, report.pue) == ("one-step", 360.0, 1.5)
    assert (unet.runtime, unet.device, unet.batch) == ("onnxruntime", "cpu", 1)
    assert (unet.source, unet.training_source, unet.components) == ("modelled", "modelled", ("cpu",))


@pytest.mark.usefixtures("two")
def test_the_default_conversion_and_the_order_of_models(study: Study) -> None:
    report = amortise_study(study, [1.0])
    assert (report.intensity_g_per_kwh, report.pue) == (445.0, 1.0)
    assert [m.model for m in report.models] == ["unet", "fno"]


@pytest.mark.usefixtures("two")
def test_a_cpu_model_that_both_share_leaves_the_crossing_resolved(study: Study) -> None:
    (pair,) = amortise_study(study, [1e3]).break_even
    assert (pair.queries, pair.low, pair.high) == pytest.approx((450, 450, 450))
    assert (pair.verdict, pair.cheaper_below) == ("crosses", "fno")


def test_random_error_is_students_over_the_raw_windows(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make
) -> None:
    joules = (10.0, 11.0, 12.5, 10.5, 11.0)
    windows = tuple(
        Window(start_s=0.0, duration_s=1.0, calls=5, latencies_s=(0.2,), energy=cpu(j)) for j in joules
    )
    add(make_run("fno", cpu(100.0)), make_measurement("fno", cpu(11.0 / 10), windows=windows, batch=2))
    report = amortise_study(study, [1e3], intensity_g_per_kwh=3.6e6, batch=2)
    student = stats.t_interval([j / 10 for j in joules])
    assert student.high is not None
    figure = report.models[0].per_query_g
    both = stats.quadrature([student.high - student.value, 0.5 * 1.1])
    assert figure.high == pytest.approx(1.1 + both)


def test_the_interval_of_one_training_gives_its_random_part(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make, make_energy: Make
) -> None:
    training = EnergyBreakdown(cpu=make_energy(100.0, **{**MODELLED, "systematic": 0.3, "half": 50.0}))
    add(make_run("fno", training), make_measurement("fno", cpu(3.0)))
    life = amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6).costs.candidates[0].lifetime
    assert life.training.random == pytest.approx(40.0)
    assert life.per_query.random == 0.0


def test_the_runtime_of_the_least_energy_is_taken(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make
) -> None:
    add(make_run("fno", cpu(100.0)))
    for runtime, joules in (("eager", 3.0), ("onnxruntime", 1.0), ("torchscript", 2.0)):
        add(make_measurement("fno", cpu(joules), runtime=runtime))
    add(make_measurement("fno", cpu(0.1), batch=8, runtime="eager"))
    add(make_measurement("fno", cpu(0.1), precision="bf16"))
    add(make_measurement("fno", cpu(0.1), scenario="rollout", steps=10))
    chosen = amortise_study(study, [1.0]).models[0]
    assert (chosen.runtime, chosen.per_query_g.value) == ("onnxruntime", pytest.approx(445 / 3.6e6))
    assert amortise_study(study, [1.0], runtime="eager").models[0].runtime == "eager"
    assert amortise_study(study, [1.0], batch=8).models[0].batch == 8
    assert amortise_study(study, [1.0], scenario="rollout").unit == "rollout of 10 steps"


def test_the_newest_measurement_and_the_newest_run_count(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make
) -> None:
    add(make_run("fno", cpu(100.0)), make_run("fno", cpu(300.0), run="fno-quick-s1", created="2026-02-01"))
    add(
        make_measurement("fno", cpu(1.0)),
        make_measurement("fno", cpu(9.0), created="2026-01-03T00:00:00+00:00"),
        make_measurement("fno", cpu(3.0), run="fno-quick-s1", created="2026-02-02"),
    )
    kwh = 3.6e6
    newest = amortise_study(study, [1.0], intensity_g_per_kwh=kwh).models[0]
    assert (newest.training_g.value, newest.per_query_g.value) == (300.0, 3.0)
    named = amortise_study(study, [1.0], intensity_g_per_kwh=kwh, run="fno-quick-s0").models[0]
    assert (named.training_g.value, named.per_query_g.value) == (100.0, 9.0)


def test_a_measurement_older_than_its_run_is_of_another_model(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make
) -> None:
    add(make_run("fno", cpu(100.0), created="2026-03-01"), make_measurement("fno", cpu(1.0)))
    with pytest.raises(StudyError, match="ptprof profile"):
        amortise_study(study, [1.0])


@pytest.mark.usefixtures("two")
def test_one_board_is_compared_and_the_device_may_be_chosen(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make
) -> None:
    add(make_run("tfno", cpu(100.0)), make_measurement("fno", cpu(0.1), device_id="another CPU"))
    report = amortise_study(study, [1.0])
    assert model(report, "fno").per_query_g.value == pytest.approx(3 * 445 / 3.6e6)
    assert any("Left out: tfno" in note and "ptprof profile tfno" in note for note in report.costs.notes)
    assert [m.model for m in amortise_study(study, [1.0], device="another CPU").models] == ["fno"]
    with pytest.raises(StudyError, match="ptprof profile --device cuda:0"):
        amortise_study(study, [1.0], device="cuda:0")


def gpu_and_cpu(make_energy: Make, gpu: float, cpu: float, **more: Energy) -> EnergyBreakdown:
    board = make_energy(gpu, gain_id="GPU-1", systematic=0.05)
    return EnergyBreakdown(gpu=board, cpu=make_energy(cpu, **MODELLED), **more)


def test_a_sum_is_of_all_components_and_as_weak_as_its_weakest(
    study: Study, add: Make, make_run: Make, make_measurement: Make, make_energy: Make
) -> None:
    add(
        make_run("fno", gpu_and_cpu(make_energy, 900.0, 100.0), device="cuda:0"),
        make_measurement("fno", gpu_and_cpu(make_energy, 2.0, 1.0), device="cuda:0"),
    )
    (fno,) = amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6, device="cuda").models
    assert (fno.training_g.value, fno.per_query_g.value) == (1000.0, 3.0)
    assert fno.training_g.high == pytest.approx(1000 + stats.quadrature([45, 50]))
    assert (fno.source, fno.components) == ("modelled", ("gpu", "cpu"))


def test_a_component_that_one_figure_lacks_is_left_out_of_all(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make, make_energy: Make
) -> None:
    with_memory = EnergyBreakdown(cpu=make_energy(3.0, **MODELLED), dram=make_energy(7.0))
    add(make_run("unet", cpu(1000.0)), make_run("fno", cpu(100.0)))
    add(make_measurement("unet", cpu(1.0)), make_measurement("fno", with_memory))
    report = amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6)
    assert {m.components for m in report.models} == {("cpu",)}
    assert model(report, "fno").per_query_g.value == 3.0
    assert any("dram" in note for note in report.costs.notes)


def test_trained_on_a_gpu_and_asked_on_a_cpu(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make, make_energy: Make
) -> None:
    for name in ("unet", "fno"):
        add(make_run(name, gpu_and_cpu(make_energy, 900.0, 100.0), device="cuda:0"))
        add(make_measurement(name, cpu(2.0)))
    (unet, _) = amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6).models
    assert (unet.training_g.value, unet.per_query_g.value) == (1000.0, 2.0)
    assert unet.components == ("gpu", "cpu")


def test_trained_with_and_without_a_gpu_are_not_compared(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make, make_energy: Make
) -> None:
    add(make_run("unet", gpu_and_cpu(make_energy, 900.0, 100.0), device="cuda:0"))
    add(make_run("fno", cpu(100.0)), make_measurement("unet", cpu(1.0)), make_measurement("fno", cpu(3.0)))
    with pytest.raises(StudyError, match="equal components"):
        amortise_study(study, [1.0])


def test_a_gpu_without_a_figure_is_refused(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make
) -> None:
    blind = cpu(100.0).model_copy(update={"missing": {"gpu": "no energy counter"}})
    add(make_run("fno", blind, device="cuda:0"), make_measurement("fno", cpu(3.0)))
    with pytest.raises(StudyError, match="no energy counter"):
        amortise_study(study, [1.0])


def test_queries_on_another_grid_are_not_compared(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make
) -> None:
    add(make_run("unet", cpu(1000.0), grid=(256, 512)), make_run("fno", cpu(100.0)))
    add(make_measurement("unet", cpu(1.0)), make_measurement("fno", cpu(3.0)))
    with pytest.raises(StudyError, match="256×512"):
        amortise_study(study, [1.0])


def test_a_training_of_unknown_energy_is_left_out(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make
) -> None:
    add(make_run("unet", EnergyBreakdown(missing={"cpu": "no"})), make_run("fno", cpu(100.0)))
    add(make_measurement("unet", cpu(1.0)), make_measurement("fno", cpu(3.0)))
    report = amortise_study(study, [1.0])
    assert [m.model for m in report.models] == ["fno"]
    assert any("Left out: unet" in note for note in report.costs.notes)


PROJECTED = {"source": "projected", "projected_from": "modelled"}
ESTIMATE = "fno-quick-s0-estimate"


@pytest.fixture
def estimated(add: Make, make_run: Make, make_estimate: Make, make_measurement: Make, cpu: Make) -> None:
    """unet is trained and fno is not."""
    add(make_run("unet", cpu(1000.0)), make_estimate("fno", cpu(100.0, **PROJECTED)))
    add(make_measurement("unet", cpu(1.0)), make_measurement("fno", cpu(3.0), run=ESTIMATE))


@pytest.mark.usefixtures("estimated")
def test_a_projected_training_is_amortised_and_says_what_it_is(study: Study) -> None:
    report = amortise_study(study, [1e3], intensity_g_per_kwh=3.6e6)
    unet, fno = report.models
    assert (unet.training_source, unet.projected) == ("modelled", None)
    assert (fno.training_source, fno.source, fno.training_g.value) == ("projected", "modelled", 100.0)
    assert fno.projected is not None
    assert fno.projected.model_dump() == {
        "epochs": 10,
        "steps": 57,
        "half_width": 0.0184,
        "converged": True,
        "source": "modelled",
        "synthetic_data": True,
    }
    # The gain of the CPU's model is one error, projected or not.
    (pair,) = report.break_even
    assert (pair.queries, pair.low, pair.high) == pytest.approx((450, 450, 450))


def test_a_projection_is_no_better_than_the_weakest_that_it_was_made_from(
    study: Study, add: Make, make_estimate: Make, make_measurement: Make, make_energy: Make
) -> None:
    parts = gpu_and_cpu(make_energy, 900.0, 100.0)
    projected = EnergyBreakdown(
        **{
            c: e.model_copy(update={"source": "projected", "projected_from": e.source})
            for c, e in parts.present.items()
        }
    )
    asked = gpu_and_cpu(make_energy, 2.0, 1.0)
    add(make_estimate("fno", projected, device="cuda:0"))
    add(make_measurement("fno", asked, device="cuda:0", run=ESTIMATE))
    (fno,) = amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6).models
    assert fno.training_source == "projected"
    assert fno.projected is not None
    assert fno.projected.source == "modelled"
    assert fno.training_g.high == pytest.approx(1000 + stats.quadrature([45, 50]))


@pytest.mark.usefixtures("estimated")
@pytest.mark.parametrize("created", ["2025-12-31", "2026-01-02"])
def test_a_finished_training_takes_the_place_of_its_estimate(
    study: Study, add: Make, make_run: Make, make_measurement: Make, cpu: Make, created: str
) -> None:
    add(make_run("fno", cpu(200.0), created=created), make_measurement("fno", cpu(4.0)))
    fno = model(amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6), "fno")
    assert (fno.training_g.value, fno.per_query_g.value, fno.projected) == (200.0, 4.0, None)
    with pytest.raises(UsageError, match="did you mean"):
        amortise_study(study, [1.0], run="fno-quick-s0-estimat")
    named = model(amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6, run=ESTIMATE), "fno")
    assert (named.training_g.value, named.per_query_g.value) == (100.0, 3.0)
    assert named.projected is not None


@pytest.mark.usefixtures("two")
def test_recipes_are_not_mixed(
    study: Study, add: Make, make_estimate: Make, make_measurement: Make, cpu: Make
) -> None:
    """On the same grid too: what a narrow and what a wide network cost are two questions."""
    names = {name: f"{name}-paper-s0-estimate" for name in ("unet", "fno")}
    paper = {
        name: make_estimate(name, cpu(1e6, **PROJECTED), recipe="paper", run=run)
        for name, run in names.items()
    }
    add(paper["fno"], make_measurement("fno", cpu(50.0), run=names["fno"]))
    with pytest.raises(
        StudyError, match=r"unet-quick-s0 is of recipe quick and fno-paper-s0-estimate .*--recipe"
    ):
        amortise_study(study, [1.0])
    quick = amortise_study(study, [1.0], recipe="quick", intensity_g_per_kwh=3.6e6)
    assert [m.training_g.value for m in quick.models] == [1000.0, 100.0]
    for asked in ({"recipe": "paper"}, {"run": names["fno"]}, {"models": ["fno"]}):
        (fno,) = amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6, **asked).models
        assert fno.training_g.value == 1e6
    add(paper["unet"], make_measurement("unet", cpu(40.0), run=names["unet"]))
    newest = amortise_study(study, [1.0], intensity_g_per_kwh=3.6e6)
    assert [m.training_g.value for m in newest.models] == [1e6, 1e6]
    with pytest.raises(UsageError, match="did you mean 'paper'"):
        amortise_study(study, [1.0], recipe="papr")
    with pytest.raises(
        StudyError, match=r"no trained tfno of recipe paper: .*ptprof train tfno --recipe paper"
    ):
        amortise_study(study, [1.0], recipe="paper", models=["tfno"])


def test_an_estimate_that_is_not_measured_says_what_to_do(
    study: Study, add: Make, make_estimate: Make, cpu: Make
) -> None:
    add(make_estimate("fno", cpu(100.0, **PROJECTED)))
    with pytest.raises(StudyError, match="ptprof profile"):
        amortise_study(study, [1.0])


def test_nothing_trained_and_nothing_measured(study: Study, add: Make, make_run: Make, cpu: Make) -> None:
    with pytest.raises(StudyError, match="ptprof train"):
        amortise_study(study, [1.0])
    add(make_run("fno", cpu(100.0)))
    with pytest.raises(StudyError, match="ptprof profile --scenario rollout"):
        amortise_study(study, [1.0], scenario="rollout")
    with pytest.raises(StudyError, match="ptprof train unet"):
        amortise_study(study, [1.0], models=["unet"])


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"intensity_g_per_kwh": 0.0}, "intensity"),
        ({"intensity_g_per_kwh": float("nan")}, "intensity"),
        ({"pue": 0.9}, "PUE"),
        ({"pue": float("inf")}, "PUE"),
        ({"scenario": "one-stp"}, "did you mean 'one-step'"),
        ({"precision": "fp31"}, "did you mean 'fp32'"),
        ({"run": "fno-quick-s3"}, "did you mean 'fno-quick-s0'"),
    ],
)
def test_what_cannot_be_asked(study: Study, asked: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        amortise_study(study, [1.0], **asked)


@pytest.mark.usefixtures("two")
def test_a_spoilt_record_is_named(study: Study) -> None:
    path = study.run_folder("fno-quick-s0") / "run.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(PtprofError, match="schema_version"):
        amortise_study(study, [1.0])
