"""What each command prints says what its records hold, at 100 columns and without colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from ptprof.amortise.amortising import AmortiseReport, Candidate, Costs, Projected, amortise
from ptprof.amortise.assumptions import Assumptions
from ptprof.amortise.breakeven import Cost, Lifetime, Part
from ptprof.amortise.table import from_table
from ptprof.profile.paper import TABLE2
from ptprof.records import (
    Accuracy,
    ArtifactFile,
    ArtifactRecord,
    EnergyBreakdown,
    Parity,
    Scores,
    Statistics,
)
from ptprof.report import tables
from ptprof.train.data import DatasetInfo, SplitInfo

Make = Callable[..., Any]
FORECASTERS = ("unet", "unet-cn", "unet-cp", "unet-cn-cp", "fno", "tfno", "ufno")


def printed(renderable: RenderableType, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    file = console.file
    assert isinstance(file, io.StringIO)
    text = file.getvalue()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= width
    return text


def line(text: str, *words: str) -> str:
    """The one line that begins with the words."""
    found = [row for row in text.splitlines() if row.split()[: len(words)] == list(words)]
    assert len(found) == 1, (words, found)
    return found[0]


@pytest.fixture
def paper() -> AmortiseReport:
    return amortise(from_table(TABLE2), [1e4, 1e5, 1e6, 1e7])


def test_the_answer_comes_first_and_in_words(paper: AmortiseReport) -> None:
    text = printed(tables.amortisation(paper))
    first, second, third = text.splitlines()[:3]
    assert first.rstrip() == "At 10⁴ and 10⁵ queries fno has the smallest total, 817 g and 967 g."
    assert "At 10⁶ queries fno has the smallest total, 2.47 kg" in second
    assert "but tfno and ufno cannot be told apart from it" in second
    assert third.rstrip() == "At 10⁷ queries unet has the smallest total, 10.5 kg."
    flowing = " ".join(text.split())
    assert "fno is the cheapest at first, then tfno from 2.067×10⁶ queries and unet from 2.172×10⁶" in flowing
    assert "Carbon intensity and PUE: as in the source" in text
    assert "Training costs come without an interval and count as exact." in text


def test_the_tables_of_an_amortisation_mark_the_cheapest_and_its_ties(paper: AmortiseReport) -> None:
    text = printed(tables.amortisation(paper))
    assert "2.47 ± 0.50 kg ◀" in text
    assert "2.62 ± 0.06 kg ≈" in text
    assert "3.50 ± 0.02 kg  " in text
    assert text.count("◀") == 4 + 1
    assert "fno surely below 4.53×10⁵" in line(text, "fno", "/", "tfno")
    assert "ufno below, unet above" in line(text, "unet", "/", "ufno")
    assert "1.415×10⁶" in line(text, "unet", "/", "ufno")
    assert "unet always cheaper" in line(text, "unet", "/", "unet-cn")
    assert "tfno always cheaper" in line(text, "unet-cn", "/", "tfno")


def candidate(model: str, training: float, per_query: float, **changes: Any) -> Candidate:
    fields: dict[str, Any] = {
        "model": model,
        "lifetime": Lifetime(
            Cost((Part(training, 0.5, "cpu-model"),), 0.0), Cost((Part(per_query, 0.5, "cpu-model"),), 0.0)
        ),
        "source": "modelled",
        "training_source": "modelled",
        "runtime": "onnxruntime",
        "device": "cpu",
        "batch": 1,
        "components": ("cpu",),
    }
    return Candidate(**{**fields, **changes})


def test_a_modelled_answer_says_that_it_is_cpu_time() -> None:
    both = (candidate("unet", 2.0, 1e-3), candidate("fno", 1.0, 2e-3))
    notes = ("Left out: tfno, for a reason.",)
    report = amortise(Costs(both, "one-step", 445.0, 1.0, notes, Assumptions.at(445.0)), [100.0])
    text = printed(tables.amortisation(report))
    flowing = " ".join(text.split())
    assert "the answer is CPU time in other words. The error of that model scales all alike" in flowing
    assert "Carbon intensity 445 gCO2eq/kWh, PUE 1.0." in text
    assert "A query is one step on cpu at batch 1; energy of cpu." in text
    assert "Left out: tfno, for a reason." in text
    assert "exact" not in text
    assert line(text, "unet", "onnxruntime").split().count("modelled") == 2


def test_a_projected_training_is_said_in_words_and_in_the_table() -> None:
    made = Projected(
        epochs=200, steps=57, half_width=0.0184, converged=True, source="modelled", synthetic_data=True
    )
    rough = made.model_copy(update={"steps": 1, "half_width": None, "converged": False})
    both = (
        candidate("unet", 2.0, 1e-3, training_source="projected", projected=rough),
        candidate("fno", 1.0, 2e-3, training_source="projected", projected=made),
        candidate("tfno", 1.0, 2e-3),
    )
    text = printed(tables.amortisation(amortise(Costs(both, "one-step", 445.0, 1.0), [100.0])))
    flowing = " ".join(text.split())
    assert "The training cost of fno is projected from 57 steps (± 1.8%) to 200 epochs." in flowing
    assert "cost of unet is projected from 1 step (its error unknown, 2 % not reached) to 200" in flowing
    assert "training cost of tfno" not in flowing
    assert "was not trained: nothing is said of its accuracy" in flowing
    # What is projected from modelled energy is CPU time too.
    assert "the answer is CPU time in other words" in flowing
    assert "projected (modelled)" in line(text, "fno", "onnxruntime")
    assert "projected" not in line(text, "tfno", "onnxruntime")


def test_two_assumed_wattages_do_not_cancel_and_nothing_says_that_they_do() -> None:
    eight = Lifetime(
        Cost((Part(1.0, 0.5, "cpu-model-8W"),), 0.0), Cost((Part(2e-3, 0.5, "cpu-model-8W"),), 0.0)
    )
    both = (candidate("unet", 2.0, 1e-3), candidate("fno", 1.0, 2e-3, lifetime=eight))
    text = printed(tables.amortisation(amortise(Costs(both, "one-step", 445.0, 1.0), [100.0])))
    assert "CPU time in other words" in text
    assert "scales all alike" not in text
    assert "not resolved" in line(text, "unet", "/", "fno")


def test_without_intervals_the_output_says_so() -> None:
    bare = [
        candidate(name, training, query, lifetime=Lifetime(Cost((Part(training),)), Cost((Part(query),))))
        for name, training, query in (("unet", 2.0, 1e-3), ("fno", 1.0, 2e-3))
    ]
    text = printed(tables.amortisation(amortise(Costs(tuple(bare), "one-step", None, None), [100.0])))
    assert "No cost per query has an interval: every verdict is the point value's." in text
    assert "1,000" in line(text, "unet", "/", "fno")


def test_one_model_alone_is_not_called_the_cheapest() -> None:
    alone = Costs((candidate("unet", 2.0, 1e-3),), "rollout of 10 steps", 445.0, 1.0)
    text = printed(tables.amortisation(amortise(alone, [100.0])))
    assert text.startswith("Only unet is known")
    assert "A query is a rollout of 10 steps" in text


def test_names_are_never_markup(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    path.write_text(
        "model,train_co2eq_kg,inference_co2eq_g_mean,inference_queries\n[/red],1,1,10\n[bold],2,2,10\n"
    )
    text = printed(tables.amortisation(amortise(from_table(path), [10.0])))
    assert "[/red] / [bold]" in text


def energy(make_energy: Make, joules: float, source: str = "modelled") -> EnergyBreakdown:
    return EnergyBreakdown(cpu=make_energy(joules, source=source, half=joules / 2))


def test_runs_stand_beside_persistence(make_run: Make, make_energy: Make) -> None:
    worse = Scores(pearson_r={"tracer": 0.25, "pressure": None}, vrmse={"tracer": 1.0, "pressure": 2.0})
    better = Scores(pearson_r={"tracer": 0.5, "pressure": 0.6}, vrmse={"tracer": 0.125, "pressure": 0.375})
    runs = [
        make_run(
            name,
            energy(make_energy, 4000.0),
            accuracy=Accuracy(one_step=better, rollout=(better, worse)),
            persistence=Accuracy(one_step=worse, rollout=(worse, worse)),
        )
        for name in FORECASTERS
    ]
    text = printed(tables.runs(runs))
    assert "vrmse 1→2" in text
    assert "recipe quick" in text
    row = line(text, "tfno")
    assert "4.00 ± 2.00 kJ" in row
    assert "2 min 05 s" in row
    assert "1.23 M" in row
    assert "0.250 1.500" in row
    assert "0.550 0.250" in row
    assert "1.500 1.500" in line(text, "persistence")
    assert "CPU time in other words" in text


def test_runs_without_a_known_energy_show_none(make_run: Make) -> None:
    text = printed(tables.runs([make_run("fno", EnergyBreakdown(missing={"cpu": "no"}))]))
    assert "J" not in line(text, "fno")
    assert "CPU time" not in text


def test_runs_of_several_recipes_name_them(make_run: Make, make_energy: Make) -> None:
    measured = energy(make_energy, 1.0, "measured")
    runs = [make_run("fno", measured, recipe=recipe) for recipe in ("quick", "paper")]
    text = printed(tables.runs(runs))
    assert line(text, "fno", "paper")
    assert "CPU time" not in text


def test_measurements_stand_by_scenario(make_measurement: Make, make_energy: Make) -> None:
    records = [
        make_measurement(name, energy(make_energy, 0.7), scenario=scenario, steps=steps, runtime=runtime)
        for name in FORECASTERS
        for scenario, steps in (("one-step", 1), ("rollout", 10))
        for runtime in ("eager", "torchscript", "onnxruntime")
    ]
    text = printed(tables.measurements(records))
    assert "One step, batch 1, cpu, quick protocol" in text
    one, ten = text.split("Rollout of 10 steps, batch 1, cpu, quick protocol")
    for half in (one, ten):
        row = line(half, "unet-cn-cp", "torchscript")
        for figure in ("12.3 ± 0.3 ms", "81.3/s", "300 MiB", "700 ± 350 mJ", "modelled"):
            assert figure in row
    assert "flags" not in text


def test_a_model_that_samples_shows_how_often_it_evaluates_its_network(
    make_measurement: Make, make_energy: Make
) -> None:
    records = [
        make_measurement("flow-matching", energy(make_energy, 0.1 * nfe), nfe=nfe, variant=variant)
        for nfe, variant in ((4, ""), (8, "nfe8"))
    ]
    text = printed(tables.measurements([make_measurement("unet-cp", energy(make_energy, 0.1)), *records]))
    assert "100 ± 50 mJ" in line(text, "unet-cp", "onnxruntime")
    assert "400 ± 200 mJ" in line(text, "flow-matching", "nfe", "4", "onnxruntime")
    assert "800 ± 400 mJ" in line(text, "flow-matching", "nfe", "8", "onnxruntime")


def test_what_is_wrong_with_a_measurement_is_shown(make_measurement: Make, make_energy: Make) -> None:
    bad = make_measurement("fno", energy(make_energy, 1.0), flags=("throttled",), converged=False)
    gpu = make_measurement("fno", energy(make_energy, 1.0), device="cuda:0", peak_device_bytes=1 << 30)
    slow = make_measurement("unet", energy(make_energy, 1.0), converged=False, runtime="eager")
    text = printed(tables.measurements([bad, slow, gpu]))
    assert "1: throttled" in text
    assert "2: not converged" in text
    assert line(text, "unet", "eager").split()[-1] == "2"
    assert "1.00 GiB" in text


def test_a_data_set_tells_its_splits_flows_and_statistics() -> None:
    info = DatasetInfo(
        name="shear_flow",
        grid=(48, 96),
        fields=("tracer", "pressure"),
        dt=0.1,
        scalars=({"Reynolds": 500.0, "Schmidt": 1.0}, {"Reynolds": 100.0, "Schmidt": 1.0}),
        splits={"train": SplitInfo(files=3, trajectories=16, steps=41)},
        statistics=Statistics(fields=("tracer", "pressure"), mean=(0.0, 0.0), std=(0.5, 0.0123)),
        size_bytes=118 << 20,
        made_by="0.1.0",
    )
    text = printed(tables.data_set(info))
    assert "shear_flow on 48×96" in text
    assert line(text, "train").split() == ["train", "3", "16", "41"]
    assert line(text, "pressure").split() == ["pressure", "0", "0.0123"]
    assert "Reynolds: 100, 500" in text
    assert "A state every 0.1; 118 MiB; simulated by ptprof 0.1.0." in text
    foreign = info.model_copy(update={"made_by": None})
    assert "simulated by another program" in printed(tables.data_set(foreign))


def test_parity_of_every_file(make_run: Make) -> None:
    run = make_run("fno", EnergyBreakdown())
    parity = Parity(
        windows=64,
        rollout_steps=10,
        one_step=3.1e-7,
        rollout=2.2e-6,
        one_step_float64=4.3e-7,
        reference_float64=3.8e-7,
        gate=1.5e-6,
        by_field={},
        provider="CPUExecutionProvider",
    )
    files = tuple(
        ArtifactFile(name=name, format=kind, sha256="x", size_bytes=76_000_000, parity=parity)
        for name, kind in (("model.onnx", "onnx"), ("model.pt", "torchscript"))
    )
    artifact = ArtifactRecord(
        run=run.run,
        model=run.model,
        recipe=run.recipe,
        grid=run.grid,
        history=run.history,
        statistics=run.statistics,
        checkpoint_sha256="c",
        files=files,
        environment=run.environment,
        created=run.created,
    )
    text = printed(tables.parity([artifact]))
    assert line(text, "fno", "model.onnx").split()[2:] == [
        "72.5",
        "MiB",
        "3.1e-07",
        "2.2e-06",
        "4.3e-07",
        "3.8e-07",
        "1.5e-06",
    ]
    assert "10 steps" in text


def test_nothing_measured_is_said() -> None:
    assert printed(tables.measurements([])).strip() == "Nothing is measured."
