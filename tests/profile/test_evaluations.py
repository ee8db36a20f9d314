"""Models that evaluate their network several times: what is measured of them says how often it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ptprof.amortise.costs import Query, amortise_study
from ptprof.errors import StudyError, UsageError
from ptprof.profile import profile
from ptprof.profile.bench import Info, LocalBench, Prepared, Setup, device_id
from ptprof.profile.scenarios import scenario
from ptprof.records import EnergyBreakdown, Environment, RunRecord, Statistics, Window
from ptprof.study import Study, write_record
from ptprof.train.checkpoint import save_weights, weights_of
from ptprof.train.models import build

Make = Callable[..., Any]
MACHINE = Environment(platform="p", python="3", cpu="c", cpu_cores=2, memory_bytes=1)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return weights_of(build("flow-matching", "quick"))


@pytest.fixture
def sampled(
    study: Study, make_run: Callable[..., RunRecord], weights: dict[str, torch.Tensor]
) -> Iterator[Study]:
    """The small study, with flow matching of random weights too."""
    fields = ("tracer", "pressure", "velocity_x", "velocity_y")
    folder = study.run_folder("flow-matching-quick-s0")
    run = make_run(
        "flow-matching",
        study.run("fno").energy,
        checkpoint_sha256=save_weights(folder / "checkpoint.pt", "flow-matching", weights),
        statistics=Statistics(fields=fields, mean=(0.0,) * 4, std=(1.0,) * 4),
    )
    write_record(folder / "run.json", run)
    yield study
    (folder / "run.json").unlink()


def flops(study: Study, nfe: int | None, name: str, steps: int) -> tuple[int | None, int]:
    """What a bench says of the evaluations, and the operations of one call of its query."""
    query = scenario(name, batch=1, steps=steps)
    run = study.run("flow-matching")
    with LocalBench(Setup(study.root, "eager", "cpu", 6.0, nfe)) as bench:
        prepared = bench.prepare(run, query)
        with FlopCounterMode(display=False) as counter:
            bench._bound[run.run, query].call()
    return prepared.nfe, counter.get_total_flops()


def test_what_is_timed_is_the_evaluations_times_the_backbone(sampled: Study) -> None:
    network = build("flow-matching", "quick").eval().network
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 21, 48, 96))
    once = counter.get_total_flops()
    assert flops(sampled, None, "one-step", 1) == (4, 4 * once)
    assert flops(sampled, 6, "one-step", 1) == (6, 6 * once)
    assert flops(sampled, 2, "rollout", 3) == (2, 3 * 2 * once)


def test_a_number_of_evaluations_is_for_models_that_have_one(sampled: Study) -> None:
    query = scenario("one-step", batch=1, steps=1)
    with LocalBench(Setup(sampled.root, "eager", "cpu", 6.0, 4)) as bench:
        with pytest.raises(UsageError, match="only flow-matching"):
            bench.prepare(sampled.run("fno"), query)
        with pytest.raises(UsageError, match="even, not 5"):
            LocalBench(Setup(sampled.root, "eager", "cpu", 6.0, 5)).prepare(
                sampled.run("flow-matching"), query
            )
    with pytest.raises(StudyError, match="`ptprof export flow-matching --format onnx --nfe 2`"):
        profile(sampled, ["flow-matching"], runtimes=["onnxruntime"], nfe=2)


@pytest.fixture
def measure(sampled: Study, make_window: Callable[..., Window]) -> Callable[..., Any]:
    """Profile flow matching on a bench that takes as many seconds for a call as there are evaluations."""
    given: list[int] = []

    @contextmanager
    def open_bench(setup: Setup) -> Iterator[Any]:
        evaluations = setup.nfe or 4

        class Bench:
            info = Info(device_id("cpu"), MACHINE, measures_idle=False)

            def prepare(self, run: RunRecord, scenario: object) -> Prepared:
                return Prepared("p", 1, None, evaluations)

            def warm_up(self, run: RunRecord, scenario: object, protocol: object) -> int:
                return 1

            def window(self, run: RunRecord, scenario: object, protocol: object, number: int) -> Window:
                given.append(evaluations)
                return make_window(10, 1.0 * evaluations)

        yield Bench()

    def make(nfe: int | None = None) -> tuple[Any, int]:
        before = len(given)
        settings: dict[str, Any] = {
            "runtimes": ["eager"],
            "scenarios": ["one-step"],
            "open_bench": open_bench,
        }
        (measured,) = profile(sampled, ["flow-matching"], nfe=nfe, **settings)
        return measured, len(given) - before

    return make


def test_variants_are_measured_side_by_side_and_once(measure: Callable[..., Any]) -> None:
    default, windows = measure()
    assert (default.nfe, default.variant, windows) == (4, "", 5)
    two, windows = measure(2)
    assert (two.nfe, two.variant, windows) == (2, "nfe2", 5)
    assert two.energy_per_query.joules == pytest.approx(default.energy_per_query.joules / 2)
    assert measure() == (default, 0)
    assert measure(2) == (two, 0)


def test_amortise_takes_the_evaluations_of_the_recipe_unless_others_are_named(
    sampled: Study, measure: Callable[..., Any], make_energy: Make
) -> None:
    cpu = make_energy(1000.0, source="modelled", gain_id="cpu-model", systematic=0.5)
    run = sampled.run("flow-matching")
    paid = run.model_copy(update={"energy": EnergyBreakdown(cpu=cpu)})
    write_record(sampled.run_folder(run.run) / "run.json", paid)
    measure(2)
    with pytest.raises(StudyError, match="holds no measurement"):
        amortise_study(sampled, [1e3], models=["flow-matching"])
    measure()
    grams = {}
    for nfe, evaluations in ((None, 4), (2, 2)):
        report = amortise_study(sampled, [1e3], Query(nfe=nfe), models=["flow-matching"])
        grams[evaluations] = report.models[0].per_query_g.value
        assert f"flow-matching evaluates its network {evaluations} times per step." in report.costs.notes
    assert grams[4] == pytest.approx(2 * grams[2])
    with pytest.raises(StudyError, match="with nfe 6: run `ptprof profile flow-matching --nfe 6`"):
        amortise_study(sampled, [1e3], Query(nfe=6), models=["flow-matching"])
