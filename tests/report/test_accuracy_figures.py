"""Accuracy and physics over a rollout: the lines hold the records' figures, and can be told apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ptprof.records import Accuracy, Physics, Scores
from ptprof.report.accuracy import PHYSICS, accuracy_over_rollout, physics_over_rollout

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
MODELS = ("unet", "unet-cn", "unet-cp", "unet-cn-cp", "fno", "tfno", "ufno", "flow-matching")


def scores(r: float | None, **physics: float | None) -> Scores:
    values = {field: None if r is None else r - 0.01 * c for c, field in enumerate(FIELDS)}
    return Scores(pearson_r=values, vrmse=values, nrmse=values, physics=Physics(**physics))


def decay(rate: float, steps: int = 20) -> Accuracy:
    rollout = tuple(
        scores(
            1 - rate * step,
            divergence=rate * step,
            divergence_truth=1e-6,
            vorticity_vrmse=2 * rate * step,
            energy_spectrum_error=3 * rate,
            tracer_mean_drift=rate**2,
            tracer_mean_drift_truth=2e-9,
            tracer_variance_error=rate**3,
        )
        for step in range(1, steps + 1)
    )
    return Accuracy(one_step=rollout[0], rollout=rollout)


def lines(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.get_lines()}


def test_the_mean_and_every_field_are_drawn() -> None:
    models = {name: decay(0.01 * n) for n, name in enumerate(MODELS, start=1)}
    mean, *fields = accuracy_over_rollout(models, decay(0.02)).axes
    for n, name in enumerate(MODELS, start=1):
        steps, r = lines(mean)[name].get_data()
        assert np.array_equal(steps, range(1, 21))
        assert np.allclose(r, [1 - 0.01 * n * step - 0.015 for step in range(1, 21)])
        for c, (field, axes) in enumerate(zip(FIELDS, fields, strict=True)):
            assert axes.get_title("left") == field.replace("_", " ")
            assert np.allclose(lines(axes)[name].get_ydata(), r + 0.015 - 0.01 * c)
    assert np.allclose(lines(mean)["persistence"].get_ydata()[0], 1 - 0.02 - 0.015)
    legend = [text.get_text() for text in mean.get_legend().get_texts()]
    assert legend == [*MODELS, "persistence"]


def test_lines_differ_in_more_than_colour() -> None:
    mean = accuracy_over_rollout({name: decay(0.01) for name in MODELS}, decay(0.02)).axes[0]
    marks = {(str(line._unscaled_dash_pattern), line.get_marker()) for line in mean.get_lines()}
    assert len(marks) == len(MODELS) + 1


def test_a_line_ends_where_the_forecast_diverged() -> None:
    good = decay(0.01)
    lost = Accuracy(one_step=good.one_step, rollout=(*good.rollout[:5], *[scores(None)] * 15))
    mean, tracer, *_ = accuracy_over_rollout({"unet": lost}, good).axes
    for axes in (mean, tracer):
        drawn = lines(axes)["unet"].get_ydata()
        assert np.isfinite(drawn[:5]).all()
        assert np.isnan(drawn[5:]).all()
        assert all(math.isfinite(limit) for limit in axes.get_ylim())


def test_physics_are_drawn_with_the_floor_of_the_data() -> None:
    axes = physics_over_rollout({"fno": decay(0.1)}, decay(0.2)).axes
    assert [panel.get_title("left") for panel in axes[:5]] == list(PHYSICS.values())
    for panel, name in zip(axes, PHYSICS, strict=False):
        drawn = lines(panel)
        expected = [getattr(s.physics, name) for s in decay(0.1).rollout]
        assert np.allclose(drawn["fno"].get_ydata(), expected)
        assert ("the data themselves" in drawn) == (name in ("divergence", "tracer_mean_drift"))
    assert lines(axes[0])["the data themselves"].get_ydata()[0] == 1e-6
    assert lines(axes[3])["the data themselves"].get_ydata()[0] == 2e-9


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_rollouts_of_any_length_can_be_drawn(steps: int) -> None:
    figure = accuracy_over_rollout({"fno": decay(0.001, steps)}, decay(0.002, steps))
    assert len(lines(figure.axes[0])["fno"].get_xdata()) == steps
