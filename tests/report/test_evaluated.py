"""The tables of an evaluation, and which pictures it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType

from ptprof.records import Accuracy, Physics, Scores
from ptprof.report import evaluation
from ptprof.train.evaluation import Evaluation, Example

FIELDS = ("tracer", "pressure")


def scores(value: float | None) -> Scores:
    by_field = dict.fromkeys(FIELDS, value)
    return Scores(
        pearson_r=by_field,
        vrmse={"tracer": value, "pressure": None if value is None else 3 * value},
        nrmse=by_field,
        spectral_nmse={"tracer": (value, 0.5, 1.0), "pressure": (value, 1.5, 5.0)},
        physics=Physics(
            divergence=value, divergence_truth=3e-7, vorticity_vrmse=value, tracer_mean_drift_truth=4e-9
        ),
    )


def evaluated(model: str, *values: float | None) -> tuple[Evaluation, Example]:
    accuracy = Accuracy(one_step=scores(0.25), rollout=tuple(map(scores, values)))
    still = Accuracy(one_step=scores(0.5), rollout=(scores(0.75),) * len(values))
    states = np.zeros((2, 2, 6, 12), dtype=np.float32)
    return Evaluation(
        run=f"{model}-quick-s0", model=model, data="d", device="cpu", accuracy=accuracy, persistence=still
    ), Example(FIELDS, (1, len(values)), (0.4, 1.0), states + 1, states + 2)


def printed(renderable: RenderableType, width: int = 100) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def cells(text: str, first: str) -> list[list[str]]:
    return [line.split()[1:] for line in text.splitlines() if line.split()[:1] == [first]]


def test_tables_show_steps_of_the_rollout_beside_persistence() -> None:
    rollout = [0.1 * step / 12 for step in range(1, 13)]
    text = printed(evaluation.tables([evaluated("fno", *rollout)[0]]))
    one_step, steps, physics = cells(text, "fno")
    assert one_step == ["0.250", "0.500", "0.250", "2.5e-01", "1.0e+00", "3.0e+00"]
    r = [rollout[step - 1] for step in (1, 5, 10, 12)]
    assert steps == [f"{v:.3f}" for v in r] + [f"{2 * v:.3f}" for v in r]
    assert physics == ["1.0e-01", "0.100", "–", "–", "–"]
    assert "Physics at step 12" in text
    assert cells(text, "persistence")[1] == ["0.750"] * 4 + ["1.500"] * 4
    assert "the data" in text
    assert "3.0e-07" in text
    assert "4.0e-09" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_diverged_forecast_is_a_dash_and_a_large_error_is_short() -> None:
    text = printed(evaluation.tables([evaluated("unet", 12345.0, None)[0]]))
    assert cells(text, "unet")[1] == ["1.2e+04", "–", "2.5e+04", "–"]


def test_pictures_of_one_model_and_of_several(tmp_path: Path) -> None:
    fno, unet = evaluated("fno", 0.1, 0.2), evaluated("unet", 0.1, 0.3)
    alone = evaluation.draw([fno[0]], [fno[1]], tmp_path / "alone")
    assert [path.name for path in alone] == ["accuracy.png", "physics.png", "rollout-fno-quick-s0.png"]
    both = evaluation.draw([fno[0], unet[0]], [fno[1], unet[1]], tmp_path / "both")
    assert {path.name for path in both} == {
        "accuracy.png",
        "physics.png",
        "rollout-fno-quick-s0.png",
        "rollout-unet-quick-s0.png",
        "rollout-tracer.png",
        "rollout-pressure.png",
    }
    for path in (*alone, *both):
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["pearson_r", "nrmse"])
def test_the_mean_over_fields_knows_divergence_from_what_is_undefined(name: str) -> None:
    constant = Scores(pearson_r={"a": 0.5, "b": None}, vrmse={"a": 1, "b": 2}, nrmse={"a": 0.5, "b": None})
    assert constant.mean(name) == 0.5
    lost = constant.model_copy(update={"vrmse": {"a": 1.0, "b": None}})
    assert lost.mean(name) is None
    assert Scores(pearson_r={"a": None}, vrmse={"a": 1.0}).mean(name) is None
