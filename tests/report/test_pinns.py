"""The PINNs' tables and figure: what they say, on a sweep made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from ptprof.plots import save
from ptprof.records import Energy, EnergyBreakdown, Environment, Interval, PinnRecord, RunRecord
from ptprof.report import pinns
from ptprof.train.burgers.tradeoffs import Comparison, Ratio, Stop, TradeOff
from ptprof.train.recipe import load_recipe

MACHINE = Environment(platform="Linux", python="3.11", cpu="a CPU", cpu_cores=2, memory_bytes=8 << 30)
MODELS = ("burgers-nn", "burgers-u-pinn", "burgers-s-pinn")


def around(value: float, factor: float | None = 2.0) -> Interval:
    if factor is None:
        return Interval(value=value)
    return Interval(value=value, low=value / factor, high=value * factor)


def ratio(error: float, nn: float, pinn: float, spread: float | None) -> Ratio:
    return Ratio(test_mse=error, nn_g=nn, pinn_g=pinn, factor=around(nn / pinn, spread))


@pytest.fixture
def make_tradeoff(make_energy: Callable[..., Energy]) -> Callable[..., TradeOff]:
    """Build a trade-off in which the NN is cheaper down to 1e-4 and dearer at 1e-5."""

    def make(spread: float | None = 2.0, shared: bool = True) -> TradeOff:
        ratios = (ratio(1e-5, 0.03, 0.01, spread), ratio(1e-4, 0.004, 0.008, spread)) if shared else ()
        stops = [
            Stop(
                model=model,
                points=1000,
                steps=steps,
                final=final,
                test_mse=around(error / place, spread),
                co2eq_g=around(grams * place, spread),
                on_front=model == "burgers-nn" or final,
            )
            for place, model in enumerate(MODELS, 1)
            for steps, final, grams, error in ((100, False, 0.001, 0.1), (200, True, 0.002, 0.001))
        ]
        return TradeOff(
            recipe="quick",
            settings=load_recipe("quick").burgers,
            sizes=(1000,),
            seeds=3,
            intensity_g_per_kwh=445.0,
            pue=1.0,
            device="cpu",
            energy=EnergyBreakdown(cpu=make_energy(9.0, source="modelled")),
            best_test_mse={model: around(10.0**-power) for power, model in enumerate(MODELS, 4)},
            stops=tuple(stops),
            comparisons=tuple(
                Comparison(
                    pinn=name,
                    ratios=ratios,
                    largest=ratios[0] if ratios else None,
                    smallest=ratios[1] if ratios else None,
                    typical=around(1.22, spread) if ratios else None,
                )
                for name in ("best PINN", *MODELS[1:])
            ),
            trainings=(),
            environment=MACHINE,
        )

    return make


@pytest.fixture
def make_pinn() -> PinnRecord:
    return PinnRecord(
        run="burgers-nn-quick-s0",
        model="burgers-nn",
        recipe="quick",
        recipe_sha256="e",
        seed=0,
        points=1000,
        parameters=7851,
        steps=4500,
        evaluations=4700,
        stopped="planned",
        loss=1.25e-6,
        test_mse=2.5e-6,
        duration_s=9.0,
        energy=EnergyBreakdown(cpu=None, missing={"cpu": "no sensor"}),
        device="cpu",
        environment=MACHINE,
        created="2026-01-01T00:00:00+00:00",
        checkpoint_sha256="c",
    )


def printed(renderable: object) -> str:
    console = Console(width=110, no_color=True)
    with console.capture() as capture:
        console.print(renderable)
    return " ".join(capture.get().split())


def test_the_answer_stands_beside_the_papers(make_tradeoff: Callable[..., TradeOff]) -> None:
    said = pinns.answer(make_tradeoff())
    assert said[0] == (
        "CO2eq of the NN over that of best PINN at equal test error: at most 3.00 (1.50–6.00) at 1.0e-05,"
        " at least 0.500 (0.250–1.00) at 1.0e-04; 1.22 (0.610–2.44) on the mean from 1.0e-04 to 1.0e-05."
    )
    assert "up to 10" in said[3]
    assert said[4] == (
        "The Pareto front has 4 points, 2 of burgers-nn, 1 of burgers-u-pinn and 1 of burgers-s-pinn."
    )
    assert "burgers-s-pinn 1.0e-06" in said[5]


def test_without_seeds_to_tell_there_are_no_intervals(make_tradeoff: Callable[..., TradeOff]) -> None:
    assert "at most 3.00 at 1.0e-05, at least 0.500 at" in pinns.answer(make_tradeoff(spread=None))[0]


def test_no_accuracy_in_common_is_said(make_tradeoff: Callable[..., TradeOff]) -> None:
    made = make_tradeoff(shared=False)
    assert pinns.answer(made)[0] == "The NN and best PINN reach no accuracy in common."
    assert "NN / PINN" in printed(pinns.tradeoff(made))


def test_the_tables_hold_ends_and_equal_accuracies(make_tradeoff: Callable[..., TradeOff]) -> None:
    text = printed(pinns.tradeoff(make_tradeoff()))
    assert "burgers-nn 1,000 200 2.00 mg 1.0e-03 5.0e-04–2.0e-03" in text
    assert "burgers-nn 1,000 100" not in text
    assert "1.0e-04 4.00 mg 8.00 mg 0.500 0.250–1.00 1.0e-05 30.0 mg 10.0 mg 3.00 1.50–6.00" in text
    assert "445 gCO2eq/kWh" in text
    assert "Energy is modelled" in text


@pytest.mark.parametrize("ending", [".png", ".svg"])
@pytest.mark.parametrize(("spread", "shared"), [(2.0, True), (None, True), (2.0, False)])
def test_the_figure_draws_every_model_the_front_and_the_factor(
    make_tradeoff: Callable[..., TradeOff], tmp_path: Path, ending: str, spread: float | None, shared: bool
) -> None:
    drawing = pinns.figure(make_tradeoff(spread, shared))
    above, below = drawing.axes
    assert {text.get_text() for text in above.get_legend().get_texts()} == {*MODELS, "Pareto front"}
    front = next(line for line in above.lines if line.get_label() == "Pareto front")
    assert list(front.get_xdata()) == sorted(front.get_xdata())
    assert [list(line.get_ydata()) for line in below.lines[:1]] == ([[3.0, 0.5]] if shared else [])
    path = save(drawing, tmp_path / f"sweep{ending}")
    assert path.stat().st_size > 10_000


def test_trainings_are_shown_by_kind(
    make_pinn: PinnRecord, make_run: Callable[..., RunRecord], make_energy: Callable[..., Energy]
) -> None:
    run = make_run("fno", EnergyBreakdown(cpu=make_energy(10.0)))
    both = printed(pinns.trainings([run, make_pinn]))
    assert "fno" in both
    assert "burgers-nn quick 1,000 4,500 9.00 s" in both
    assert "1.3e-06 2.5e-06" in both
    assert "fno" not in printed(pinns.trainings([make_pinn]))
    assert "Burgers" not in printed(pinns.trainings([run]))
