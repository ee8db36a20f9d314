"""Pictures of rollouts: which state stands where, and on which scale of colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptprof.plots import save
from ptprof.report import rollouts
from ptprof.train.evaluation import Example

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
STEPS = (1, 5, 20)


def example(seed: int = 0) -> Example:
    truth, error = np.random.default_rng(seed).normal(size=(2, 3, 4, 6, 12)).astype(np.float32)
    truth = np.random.default_rng(0).normal(size=(3, 4, 6, 12)).astype(np.float32)
    return Example(FIELDS, STEPS, (0.4, 0.8, 2.3), truth, truth + 0.1 * error)


def pictures(figure: Any) -> list[list[Any]]:
    """The axes that hold a picture, row by row from the top, each from the left."""
    rows: dict[float, list[Any]] = {}
    for axes in figure.axes:
        if axes.get_images():
            rows.setdefault(round(axes.get_position().y0, 6), []).append(axes)
    return [sorted(rows[y], key=lambda a: a.get_position().x0) for y in sorted(rows, reverse=True)]


def shown(axes: Any) -> Any:
    """The state of a picture, the first axis upwards."""
    (image,) = axes.get_images()
    assert image.origin == "lower"
    return image.get_array()


def test_each_field_s_forecasts_stand_below_its_targets() -> None:
    drawn = example()
    rows = pictures(rollouts.rollout(drawn, "fno"))
    assert len(rows) == 8
    for c in range(4):
        for s in range(3):
            assert np.array_equal(shown(rows[2 * c][s]), drawn.truth[s, c])
            assert np.array_equal(shown(rows[2 * c + 1][s]), drawn.forecast[s, c])
    assert [axes.get_title() for axes in rows[0]] == [
        "step 1, $t$ = 0.4",
        "step 5, $t$ = 0.8",
        "step 20, $t$ = 2.3",
    ]


def test_a_field_has_one_scale_which_is_the_target_s() -> None:
    drawn = example()
    rows = pictures(rollouts.rollout(drawn, "fno"))
    for c, (targets, forecasts) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        limits = {axes.get_images()[0].get_clim() for axes in (*targets, *forecasts)}
        truth = drawn.truth[:, c]
        largest = np.abs(truth).max()
        expected = (truth.min(), truth.max()) if c == 0 else (-largest, largest)
        assert len(limits) == 1
        assert limits.pop() == pytest.approx(expected)


@pytest.mark.parametrize(("factor", "extend"), [(0.5, "neither"), (2.0, "both"), (np.inf, "both")])
def test_the_colour_bar_says_that_forecasts_go_beyond(factor: float, extend: str) -> None:
    drawn = example()
    wild = Example(FIELDS, STEPS, drawn.times, drawn.truth, drawn.truth * np.float32(factor))
    figure = rollouts.comparison({"fno": wild}, "velocity_x")
    (bar,) = [axes for axes in figure.axes if not axes.get_images()]
    assert bar._colorbar.extend == extend
    assert bar.get_ylabel() == "velocity $u_x$"


def test_all_models_stand_below_one_target() -> None:
    examples = {"unet": example(1), "fno": example(2)}
    rows = pictures(rollouts.comparison(examples, "pressure"))
    assert np.array_equal(shown(rows[0][2]), examples["fno"].truth[2, 1])
    assert np.array_equal(shown(rows[1][2]), examples["unet"].forecast[2, 1])
    assert np.array_equal(shown(rows[2][2]), examples["fno"].forecast[2, 1])
    assert [row[0].texts[0].get_text() for row in rows] == ["target", "unet", "fno"]


def test_what_is_not_finite_is_left_grey(tmp_path: Any) -> None:
    drawn = example()
    drawn.forecast[2] = np.nan
    figure = rollouts.rollout(drawn, "unet")
    assert shown(pictures(figure)[1][2]).mask.all()
    assert not np.ma.getmaskarray(shown(pictures(figure)[1][1])).any()
    assert save(figure, tmp_path / "a.png").stat().st_size > 1000
