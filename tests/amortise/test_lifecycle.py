"""What is paid beside one training and its queries, from a study's records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof.amortise.accuracy import Metric, parse_limit
from ptprof.amortise.amortising import AmortiseReport, ModelReport
from ptprof.amortise.assumptions import Assumptions, Conversion, Embodied
from ptprof.amortise.costs import MODELS, ONE_STEP, Query, Scope, amortise_study
from ptprof.errors import StudyError
from ptprof.records import (
    Accuracy,
    EnergyBreakdown,
    Execution,
    GenerationRecord,
    Interval,
    Scores,
    TrainingHost,
)
from ptprof.report import words
from ptprof.study import GENERATION, Study, write_record

Make = Callable[..., Any]
KWH = 3.6e6
"""At this intensity a joule is a gram."""
JOULES = Conversion(intensity_g_per_kwh=KWH)
PLAIN = Assumptions(training=JOULES, serving=JOULES)


@pytest.fixture
def cpu(make_energy: Make) -> Callable[..., EnergyBreakdown]:
    modelled = {"source": "modelled", "gain_id": "cpu-model", "systematic": 0.5}
    return lambda joules, **changes: EnergyBreakdown(cpu=make_energy(joules, **{**modelled, **changes}))


@pytest.fixture
def study(tmp_path: Path, make_run: Make, make_measurement: Make, cpu: Make) -> Study:
    """unet: 1000 J to train and 1 J to ask; fno: 100 J and 3 J. 48 × 5.9 s were simulated for 2832 J."""
    study = Study(tmp_path / "study")
    for model, training, query in (("unet", 1000.0, 1.0), ("fno", 100.0, 3.0)):
        run = make_run(model, cpu(training))
        write_record(study.run_folder(run.run) / "run.json", run)
        study.add_measurement(make_measurement(model, cpu(query)))
    return study


@pytest.fixture
def generated(study: Study, cpu: Make, make_run: Make) -> GenerationRecord:
    record = GenerationRecord(
        trajectories=48,
        states=60,
        dt=0.1,
        simulated_s=283.2,
        grid=(48, 96),
        device="cpu",
        duration_s=141.6,
        energy=cpu(2832.0),
        environment=make_run("fno", cpu(1.0)).environment,
        created="2026-01-01T00:00:00+00:00",
    )
    write_record(study.data / GENERATION, record)
    return record


def amortised(study: Study, scope: Scope = MODELS, query: Query = ONE_STEP, **stated: Any) -> AmortiseReport:
    assumptions = PLAIN.model_copy(update=stated)
    return amortise_study(study, [1000.0], query, assumptions=assumptions, scope=scope)


def model(report: AmortiseReport, name: str) -> ModelReport:
    return next(m for m in report.models if m.model == name)


def items(report: AmortiseReport, name: str) -> dict[tuple[str, str], tuple[float, str]]:
    return {(i.what, i.paid): (i.grams, i.source) for i in model(report, name).items}


def test_training_and_serving_have_their_own_intensity_and_pue(study: Study) -> None:
    report = amortised(
        study,
        training=Conversion(intensity_g_per_kwh=KWH / 10, pue=1.5),
        serving=Conversion(intensity_g_per_kwh=2 * KWH, pue=2.0),
    )
    unet = model(report, "unet")
    assert (unet.training_g.value, unet.per_query_g.value) == pytest.approx((150.0, 4.0))
    assert (report.intensity_g_per_kwh, report.pue) == (2 * KWH, 2.0)
    said = words.conversion(report)
    assert "of training 360000 gCO2eq/kWh, PUE 1.5" in said
    assert "of queries 7.2e+06 gCO2eq/kWh, PUE 2.0" in said
    # 1000 · 0.15 − 100 · 0.15 g against 4 · (3 − 1) g
    assert report.break_even[0].queries == pytest.approx(135 / 8)


@pytest.mark.parametrize("factor", [1e-3, 7.0])
def test_one_intensity_for_both_cancels_in_every_comparison(study: Study, factor: float) -> None:
    plain = amortised(study)
    conversion = Conversion(intensity_g_per_kwh=KWH * factor, pue=1.3)
    other = amortised(study, training=conversion, serving=conversion)
    for ours, theirs in zip(plain.break_even, other.break_even, strict=True):
        assert (theirs.queries, theirs.low, theirs.high) == pytest.approx((ours.queries, ours.low, ours.high))
        assert theirs.verdict == ours.verdict
    assert other.cheapest == plain.cheapest
    ours, theirs = (model(report, "fno").parity_queries for report in (plain, other))
    assert ours is not None
    assert theirs is not None
    assert (ours.value, ours.low, ours.high) == pytest.approx((100 / 3,) * 3)
    assert (theirs.value, theirs.low, theirs.high) == pytest.approx((100 / 3,) * 3)


@pytest.mark.usefixtures("generated")
def test_data_are_paid_once_by_every_model_and_cancel_between_them(study: Study) -> None:
    plain, report = amortised(study), amortised(study, data=True)
    for name in ("unet", "fno"):
        assert items(report, name)["data generation", "once"] == (pytest.approx(2832.0), "modelled")
        more = model(report, name).totals[0].total_g - model(plain, name).totals[0].total_g
        assert more == pytest.approx(2832.0)
    (ours,), (theirs,) = plain.break_even, report.break_even
    assert (theirs.queries, theirs.low, theirs.high) == pytest.approx((ours.queries, ours.low, ours.high))
    assert "data generation (modelled)" in words.beside(report)[0]


def test_the_random_error_of_the_data_cancels_too(
    study: Study, generated: GenerationRecord, cpu: Make
) -> None:
    uncertain = generated.model_copy(update={"energy": cpu(2832.0, systematic=0.0, half=900.0)})
    write_record(study.data / GENERATION, uncertain)
    report = amortised(study, data=True)
    once = model(report, "fno").once_g
    assert (once.value, once.low, once.high) == pytest.approx((2832.0, 1932.0, 3732.0))
    (pair,) = report.break_even
    assert pair.low is not None
    assert (pair.low, pair.high) == pytest.approx((450.0, 450.0))


def test_data_that_were_not_metered_are_asked_for(study: Study, generated: GenerationRecord) -> None:
    write_record(study.data / GENERATION, generated.model_copy(update={"grid": (64, 128)}))
    with pytest.raises(StudyError, match="64×128"):
        amortised(study, data=True)
    (study.data / GENERATION).unlink()
    for scope, stated in ((Scope(), {"data": True}), (Scope(solver=True), {})):
        with pytest.raises(StudyError, match="ptprof data generate --force"):
            amortised(study, scope, **stated)


def test_tuning_is_so_many_trainings_and_errs_with_them(study: Study, make_run: Make, cpu: Make) -> None:
    run = make_run("fno", cpu(100.0, systematic=0.0, half=20.0))
    write_record(study.run_folder(run.run) / "run.json", run)
    report = amortised(study, tuning=2.5)
    assert items(report, "fno")["tuning", "once"] == (pytest.approx(250.0), "assumed")
    assert model(report, "fno").once_g.high == pytest.approx(250 + 2.5 * 20)
    life = next(c.lifetime for c in report.costs.candidates if c.model == "fno")
    half = sum(e.at(1, 0) ** 2 for e in life.errors() or ()) ** 0.5
    assert half == pytest.approx(3.5 * 20)


def test_tuning_by_what_was_run_beside(study: Study, make_run: Make, cpu: Make) -> None:
    for seed, joules in ((1, 70.0), (2, 30.0)):
        run = make_run("fno", cpu(joules), run=f"fno-quick-s{seed}", created="2025-12-01T00:00:00+00:00")
        write_record(study.run_folder(run.run) / "run.json", run)
    report = amortised(study, tuning="runs")
    assert items(report, "fno")["tuning", "once"] == (pytest.approx(100.0), "modelled")
    assert items(report, "unet")["tuning", "once"] == (0.0, "measured")
    assert model(report, "fno").training_g.value == pytest.approx(100.0)


def test_cold_starts_are_those_of_what_is_served(study: Study, make_measurement: Make, cpu: Make) -> None:
    with pytest.raises(StudyError, match="unet --scenario cold-start --runtime onnxruntime --device cpu"):
        amortised(study, cold_starts=10)
    for name, joules in (("unet", 5.0), ("fno", 7.0)):
        study.add_measurement(make_measurement(name, cpu(joules), scenario="cold-start"))
        study.add_measurement(make_measurement(name, cpu(99.0), scenario="cold-start", runtime="eager"))
    report = amortised(study, cold_starts=10)
    assert items(report, "unet")["cold starts", "once"] == (pytest.approx(50.0), "modelled")
    assert model(report, "fno").once_g.value == pytest.approx(70.0)
    assert model(report, "unet").runtime == "onnxruntime"


def test_a_training_on_several_devices_keeps_each_of_them_busy(
    study: Study, make_run: Make, cpu: Make
) -> None:
    made = Embodied(kg=1.0, lifetime_years=1 / 365.25, utilisation=0.5)
    run = study.run("unet")
    host = TrainingHost(processes=2, environment=run.environment)
    alone_on_one = {"hosts": (host,), "execution": Execution(processes=2)}
    for changes, devices in (({"hosts": (host, host)}, 2), (alone_on_one, 1)):
        spread = run.model_copy(update=changes)
        write_record(study.run_folder(run.run) / "run.json", spread)
        unet = items(amortised(study, embodied=made), "unet")
        assert unet["embodied", "training"][0] == pytest.approx(125 * devices * 1000 / (86400 * 0.5))
    boards = {"device": "cuda:0", "hosts": (host, host), "execution": Execution(processes=4)}
    assert run.model_copy(update=boards).devices == 4


def test_the_device_is_shared_out_by_busy_seconds(
    study: Study, generated: GenerationRecord, make_measurement: Make, cpu: Make
) -> None:
    study.add_measurement(
        make_measurement(
            "unet", cpu(1.0), throughput_per_s=Interval(value=50.0), created="2026-01-03T00:00:00+00:00"
        )
    )
    made = Embodied(kg=1.0, lifetime_years=1 / 365.25, utilisation=0.5)
    grams_per_s = 1000 / 43_200
    report = amortised(study, Scope(solver=True), embodied=made)
    unet = items(report, "unet")
    assert unet["embodied", "training"] == (pytest.approx(125 * grams_per_s), "given")
    assert unet["embodied", "query"] == (pytest.approx(grams_per_s / 50), "given")
    assert model(report, "unet").training_g.value == pytest.approx(1000 + 125 * grams_per_s)
    assert model(report, "unet").per_query_g.value == pytest.approx(1 + grams_per_s / 50)
    per_step_s = generated.duration_s / generated.simulated_s * 0.1
    assert items(report, "solver")["embodied", "query"][0] == pytest.approx(per_step_s * grams_per_s)
    assert any("1 kg for making the device" in sentence for sentence in words.beside(report))


def test_the_solver_pays_nothing_before_and_the_same_for_every_step(
    study: Study, generated: GenerationRecord, cpu: Make
) -> None:
    cheap = generated.model_copy(update={"energy": cpu(1416.0)})
    write_record(study.data / GENERATION, cheap)
    report = amortised(study, Scope(solver=True))
    solver = report.models[-1]
    assert (solver.model, solver.training_g.value, solver.once_g.value) == ("solver", 0.0, 0.0)
    assert solver.per_query_g.value == pytest.approx(1416 / 283.2 * 0.1)
    assert solver.parity_queries is None
    pairs = {(p.a, p.b): p for p in report.break_even}
    assert pairs["fno", "solver"].verdict == "b always cheaper"
    assert words.surrogates(report) == [
        "unet pays against simulating never.",
        "fno pays against simulating never.",
    ]


def test_from_how_many_queries_a_surrogate_pays(study: Study, generated: GenerationRecord, cpu: Make) -> None:
    dear = generated.model_copy(update={"energy": cpu(28_320.0)})
    write_record(study.data / GENERATION, dear)
    report = amortised(study, Scope(solver=True))
    pairs = {(p.a, p.b): p for p in report.break_even}
    # 1000 / (10 − 1) and 100 / (10 − 3)
    assert pairs["unet", "solver"].queries == pytest.approx(1000 / 9)
    assert pairs["fno", "solver"].queries == pytest.approx(100 / 7)
    assert words.surrogates(report)[0].startswith("unet pays against simulating from 111 queries")
    # With the data that the solver has to make for them, both start later, by what it spends on that.
    with_data = amortised(study, Scope(solver=True), data=True)
    pairs = {(p.a, p.b): p for p in with_data.break_even}
    assert pairs["unet", "solver"].queries == pytest.approx((1000 + 28_320) / 9)
    assert pairs["unet", "solver"].verdict == "crosses"


@pytest.mark.usefixtures("generated")
def test_a_simulated_second_is_so_many_steps(study: Study, make_measurement: Make, cpu: Make) -> None:
    report = amortised(study, Scope(simulated_second=True, solver=True))
    assert report.unit == "simulated second"
    assert model(report, "unet").per_query_g.value == pytest.approx(10.0)
    assert model(report, "solver").per_query_g.value == pytest.approx(10.0)
    assert words.query(report).startswith("A query is a simulated second")
    for name, joules in (("unet", 8.0), ("fno", 9.0)):
        study.add_measurement(make_measurement(name, cpu(joules), scenario="rollout", steps=20))
    rollouts = amortised(study, Scope(simulated_second=True), Query(scenario="rollout"))
    assert model(rollouts, "unet").per_query_g.value == pytest.approx(4.0)
    assert any("10 steps, costed from rollouts of 20 steps" in note for note in rollouts.notes)


def test_without_the_data_the_recipe_tells_the_time_between_states(study: Study) -> None:
    report = amortised(study, Scope(simulated_second=True))
    assert model(report, "unet").per_query_g.value == pytest.approx(10.0)


def accuracy(vrmse: float) -> Accuracy:
    return Accuracy(one_step=Scores(pearson_r={"tracer": 0.9}, vrmse={"tracer": vrmse}))


@pytest.fixture
def accurate(study: Study, make_run: Make, cpu: Make) -> Study:
    """unet errs by 0.2 and fno by 0.1."""
    for name, joules, error in (("unet", 1000.0, 0.2), ("fno", 100.0, 0.1)):
        run = make_run(name, cpu(joules), accuracy=accuracy(error))
        write_record(study.run_folder(run.run) / "run.json", run)
    return study


def test_what_is_not_accurate_enough_is_left_out_in_words(accurate: Study) -> None:
    report = amortised(accurate, Scope(max_error=parse_limit("vrmse=0.15")))
    assert [m.model for m in report.models] == ["fno"]
    assert "Left out: unet, for its vrmse is 0.2, above 0.15." in report.notes
    with pytest.raises(StudyError, match="no model is accurate enough"):
        amortised(accurate, Scope(max_error=parse_limit("vrmse=0.01")))
    with pytest.raises(StudyError, match="vrmse@20 is not known"):
        amortised(accurate, Scope(max_error=parse_limit("vrmse@20=1")))


@pytest.mark.usefixtures("generated")
def test_the_front_changes_with_the_number_of_queries(accurate: Study) -> None:
    scope = Scope(metric=Metric("vrmse"), solver=True)
    report = amortise_study(accurate, [100.0, 1e6], assumptions=PLAIN, scope=scope)
    assert report.pareto is not None
    few, many = report.pareto.fronts
    assert few.front == ("solver",)
    assert {d.model: d.by for d in few.dominated} == {"unet": ("solver", "fno"), "fno": ("solver",)}
    # A query of the solver costs no more than unet's.
    assert many.front == ("solver",)
    assert model(report, "unet").error == Interval(value=0.2)
    said = " ".join(words.pareto(report))
    assert "solver is on the front of vrmse against carbon" in said


def test_a_metric_that_no_model_has(study: Study) -> None:
    with pytest.raises(StudyError, match="no model has vrmse@99"):
        amortised(study, Scope(metric=Metric("vrmse", 99)))


def test_retraining_reaches_the_totals(study: Study) -> None:
    report = amortised(study, retrain_every=250.0)
    assert model(report, "fno").totals[0].total_g == pytest.approx(4 * 100 + 1000 * 3)
    assert model(report, "fno").lines.retrain_every == 250.0
    # The lines cross at 450 queries, and models live for 250.
    assert (report.break_even[0].queries, report.break_even[0].verdict) == (None, "b always cheaper")
    assert any("trained anew every 250 queries" in sentence for sentence in words.beside(report))


def test_lines_say_what_the_totals_and_the_ties_say(study: Study) -> None:
    report = amortised(study, tuning=1.5, retrain_every=300.0)
    for one in report.models:
        n, lines = 4, one.lines
        assert lines.once_g + n * lines.training_g + 1000 * lines.per_query_g == pytest.approx(
            one.totals[0].total_g
        )
        assert lines.errors is not None
        half = sum((o + n * t + 1000 * q) ** 2 for o, t, q in lines.errors) ** 0.5
        assert one.totals[0].high == pytest.approx(one.totals[0].total_g + half)
    gap = report.break_even[0].difference
    a, b = (one.totals[0].total_g for one in report.models)
    assert gap.once_g + 4 * gap.training_g + 1000 * gap.per_query_g == pytest.approx(a - b)


def test_nothing_stated_is_what_it_was(study: Study) -> None:
    one = amortised(study).models[0]
    assert one.once_g == Interval(value=0.0, low=0.0, high=0.0)
    assert [(i.what, i.paid) for i in one.items] == [("training", "training"), ("query", "query")]
    assert words.beside(amortised(study)) == []
