"""Accuracy of forecasters whose errors are known, and of persistence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from ptprof.records import Statistics
from ptprof.train.evaluate import accuracy, persistence

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
HISTORY = 3
MEAN, STD = (1.0, 0.0, -2.0, 0.5), (2.0, 0.1, 1.0, 0.3)


class Windows:
    """A split whose trajectories are given, ``(N, T, C, X, Y)``, in physical units."""

    fields = FIELDS
    history = HISTORY
    statistics = Statistics(fields=FIELDS, mean=MEAN, std=STD, change_std=STD)

    def __init__(self, states: Tensor) -> None:
        self.states = states
        self.grid = tuple(states.shape[-2:])
        self.given: list[int] = []

    def trajectories(self, *, batch: int, steps: int | None) -> Iterator[Tensor]:
        for some in self.states[:, :steps].split(batch):
            self.given.append(len(some))
            yield some


def advected(count: int = 3, steps: int = 9) -> Tensor:
    """``(N, T, C, X, Y)``: each state is the one before moved by one cell, in physical units."""
    first = torch.randn(count, 4, 12, 10, generator=torch.Generator().manual_seed(5))
    standardised = torch.stack([first.roll(t, dims=-1) for t in range(steps)], dim=1)
    return standardised * torch.tensor(STD).view(-1, 1, 1) + torch.tensor(MEAN).view(-1, 1, 1)


def advect(window: Tensor) -> Tensor:
    return window[:, -4:].roll(1, dims=-1)


def test_the_right_forecast_scores_one_and_zero() -> None:
    truth = advected()
    result = accuracy(advect, Windows(truth), rollout_steps=4, batch=2)
    for scores in (result.one_step, *result.rollout):
        assert list(scores.pearson_r.values()) == pytest.approx([1.0] * 4, abs=1e-6)
        assert list(scores.vrmse.values()) == pytest.approx([0.0] * 4, abs=1e-5)
    assert len(result.rollout) == 4


def test_persistence_says_the_last_state_again() -> None:
    truth = advected()
    result = accuracy(persistence(4), Windows(truth), rollout_steps=5, batch=2)
    points = truth.double().numpy()
    for c, field in enumerate(FIELDS):
        for lead, scores in enumerate(result.rollout):
            pairs = [(t[HISTORY - 1, c], t[HISTORY + lead, c]) for t in points]
            r = np.mean([np.corrcoef(p.ravel(), t.ravel())[0, 1] for p, t in pairs])
            error = np.mean([np.sqrt(((p - t) ** 2).mean() / (t.var(ddof=1) + 1e-7)) for p, t in pairs])
            assert scores.pearson_r[field] == pytest.approx(r, abs=1e-6)
            assert scores.vrmse[field] == pytest.approx(error, rel=1e-5)
        pairs = [(t[n - 1, c], t[n, c]) for t in points for n in range(HISTORY, 9)]
        error = np.mean([np.sqrt(((p - t) ** 2).mean() / (t.var(ddof=1) + 1e-7)) for p, t in pairs])
        assert result.one_step.vrmse[field] == pytest.approx(error, rel=1e-5)


def test_a_rollout_is_fed_with_its_own_forecasts() -> None:
    truth = advected()
    result = accuracy(lambda w: 0.9 * advect(w), Windows(truth), rollout_steps=4, batch=3)
    # With factor g a step, the l-th forecast is g^l times the (standardised) truth.
    for lead, scores in enumerate(result.rollout, start=1):
        x = (truth[:, HISTORY + lead - 1, 0].double() - MEAN[0]) / STD[0]
        spread = (x.square().mean((-2, -1)) / (x.var((-2, -1)) + 1e-7 / STD[0] ** 2)).sqrt().mean().item()
        assert scores.vrmse["tracer"] == pytest.approx((1 - 0.9**lead) * spread, rel=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_batch_does_not_matter_and_trajectories_are_streamed(batch: int) -> None:
    windows = Windows(advected())
    result, whole = (
        accuracy(lambda w: 0.5 * w[:, :4], windows, rollout_steps=3, batch=b).model_dump() for b in (batch, 3)
    )
    assert max(windows.given[:-1]) <= batch
    for one, other in zip(
        (result["one_step"], *result["rollout"]), (whole["one_step"], *whole["rollout"]), strict=True
    ):
        for name in ("pearson_r", "vrmse", "nrmse", "spectral_nmse", "physics"):
            for key, score in one[name].items():
                assert score == pytest.approx(other[name][key], rel=1e-12), (name, key)


def test_drift_counts_from_the_last_state_that_is_known() -> None:
    truth = advected()
    truth[:, :, 0] += 0.1 * torch.arange(9).view(-1, 1, 1)
    result = accuracy(persistence(4), Windows(truth), rollout_steps=4, batch=2)
    # The first dimension moves by whole cells, and so with an unchanging deviation.
    deviations = truth[:, 0, 0].double().std((-2, -1), correction=0)
    step = (0.1 / deviations).mean().item()
    assert result.one_step.physics.tracer_mean_drift_truth == pytest.approx(step, rel=1e-5)
    for lead, scores in enumerate(result.rollout, start=1):
        assert scores.physics.tracer_mean_drift == pytest.approx(0.0, abs=1e-8)
        assert scores.physics.tracer_mean_drift_truth == pytest.approx(lead * step, rel=1e-5)


def test_a_rollout_ends_with_its_trajectories() -> None:
    truth = advected(steps=6)
    assert len(accuracy(advect, Windows(truth), rollout_steps=20, batch=2).rollout) == 6 - HISTORY


def test_a_rollout_that_diverges_has_no_score_from_there_on() -> None:
    truth = advected()
    result = accuracy(lambda w: 1e20 * advect(w), Windows(truth), rollout_steps=3, batch=3)
    first, second = result.rollout[0].vrmse["tracer"], result.rollout[1].vrmse["tracer"]
    assert first is not None
    assert first > 1e19
    assert second is None
    assert result.rollout[2].pearson_r == dict.fromkeys(FIELDS)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_scores() -> None:
    windows = Windows(advected())
    on_cpu, on_gpu = (
        accuracy(lambda w: 0.5 * advect(w), windows, rollout_steps=3, batch=2, device=device)
        for device in ("cpu", "cuda:0")
    )
    for one, other in zip(
        (on_cpu.one_step, *on_cpu.rollout), (on_gpu.one_step, *on_gpu.rollout), strict=True
    ):
        assert one.vrmse == pytest.approx(other.vrmse, rel=1e-5)
        assert one.physics.vorticity_vrmse == pytest.approx(other.physics.vorticity_vrmse, rel=1e-5)
        for field in FIELDS:
            assert one.spectral_nmse[field] == pytest.approx(other.spectral_nmse[field], rel=1e-4)
