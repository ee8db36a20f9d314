"""Means over samples: what is undefined, what diverged, and that they are the single scores' means."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ptprof.records import Scores
from ptprof.train import physics
from ptprof.train.metrics import nrmse, pearson_r, vrmse
from ptprof.train.scores import MeanScores
from ptprof.train.spectra import Modes, spectral_nmse

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
GRID = (8, 12)
MODES = Modes(GRID, (1.0, 2.0))


def states(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 4, *GRID, generator=torch.Generator().manual_seed(seed))


def scored(prediction: Tensor, target: Tensor, start: Tensor, *, split: int = 2) -> Scores:
    scores = MeanScores(FIELDS, MODES)
    for chunk in zip(*(t.split(split) for t in (prediction, target, start)), strict=True):
        scores.add(*chunk)
    return scores.scores()


def test_they_are_the_means_of_the_single_scores() -> None:
    prediction, target, start = states(5, 1), states(5, 2), states(5, 3)
    result = scored(prediction, target, start)
    p, t = MODES.transform(prediction), MODES.transform(target)
    bands = spectral_nmse(p, t, MODES).mean(0)
    for c, field in enumerate(FIELDS):
        assert result.pearson_r[field] == pytest.approx(pearson_r(prediction, target)[:, c].mean().item())
        assert result.vrmse[field] == pytest.approx(vrmse(prediction, target)[:, c].mean().item())
        assert result.nrmse[field] == pytest.approx(nrmse(prediction, target)[:, c].mean().item())
        assert result.spectral_nmse[field] == pytest.approx(tuple(bands[c].tolist()))
    expected = {
        **physics.of_velocity(p[:, 2:], t[:, 2:], MODES),
        **physics.of_tracer(p[:, 0], t[:, 0], MODES.transform(start[:, 0]), MODES),
    }
    assert set(expected) == set(type(result.physics).model_fields)
    for name, values in expected.items():
        assert getattr(result.physics, name) == pytest.approx(values.mean().item()), name


def test_a_sample_without_a_score_is_left_out_of_its_mean() -> None:
    prediction, target = states(3, 1), states(3, 2)
    target[1, 0] = 2.0
    result = scored(prediction, target, target)
    r, error = pearson_r(prediction, target), vrmse(prediction, target)
    assert result.pearson_r["tracer"] == pytest.approx((r[0, 0] + r[2, 0]).item() / 2)
    assert result.pearson_r["pressure"] == pytest.approx(r[:, 1].mean().item())
    assert result.vrmse["tracer"] == pytest.approx(error[:, 0].mean().item())


def test_what_no_sample_defines_has_no_score() -> None:
    target = states(2)
    target[:, :] = 1.0
    result = scored(states(2, 1), target, target)
    assert result.pearson_r == dict.fromkeys(FIELDS)
    assert None not in result.vrmse.values()
    assert result.physics.divergence is None
    assert result.physics.divergence_truth is None
    assert result.physics.energy_spectrum_error is None
    assert result.physics.tracer_mean_drift is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", FIELDS)
def test_one_diverged_forecast_takes_all_that_rests_on_its_field(field: str, bad: float) -> None:
    target = states(3)
    prediction = target.clone()
    prediction[1, FIELDS.index(field), 2, 2] = bad
    result = scored(prediction, target, target)
    for name in FIELDS:
        lost = name == field
        assert (result.pearson_r[name] is None) == lost
        assert result.vrmse[name] == (None if lost else 0.0)
        assert result.nrmse[name] == (None if lost else 0.0)
        assert result.spectral_nmse[name] == ((None,) * 3 if lost else (0.0,) * 3)
    assert result.physics.divergence_truth is not None
    assert result.physics.tracer_mean_drift_truth == 0.0
    assert (result.physics.vorticity_vrmse is None) == field.startswith("velocity")
    assert (result.physics.tracer_variance_error is None) == (field == "tracer")


def test_a_huge_forecast_still_has_scores() -> None:
    target = states(2)
    result = scored(1e37 * target, target, target)
    assert result.vrmse["tracer"] == pytest.approx(1e37, rel=0.1)
    assert result.physics.energy_spectrum_error == pytest.approx(74.0, rel=1e-3)
    assert "Infinity" not in result.model_dump_json()
