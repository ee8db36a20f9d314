"""Accuracy of forecasters whose errors are known, and of persistence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ptprof.records import Statistics
from ptprof.train.evaluate import accuracy, persistence

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
HISTORY = 3
MEAN, STD = (1.0, 0.0, -2.0, 0.5), (2.0, 0.1, 1.0, 0.3)


class Windows(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Standardised windows over trajectories that are given."""

    fields = FIELDS
    history = HISTORY
    statistics = Statistics(fields=FIELDS, mean=MEAN, std=STD)

    def __init__(self, trajectories: Tensor) -> None:
        states = (trajectories - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
        self.items = [
            (trajectory[t : t + HISTORY].flatten(0, 1), trajectory[t + HISTORY])
            for trajectory in states
            for t in range(len(trajectory) - HISTORY)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.items[index]


def advected(count: int = 3, steps: int = 9) -> Tensor:
    """``(N, T, C, X, Y)``: each state is the one before moved by one cell, in physical units."""
    first = torch.randn(count, 4, 12, 10, generator=torch.Generator().manual_seed(5))
    standardised = torch.stack([first.roll(t, dims=-1) for t in range(steps)], dim=1)
    return standardised * torch.tensor(STD).view(-1, 1, 1) + torch.tensor(MEAN).view(-1, 1, 1)


def advect(window: Tensor) -> Tensor:
    return window[:, -4:].roll(1, dims=-1)


def test_the_right_forecast_scores_one_and_zero() -> None:
    truth = advected()
    result = accuracy(advect, Windows(truth), truth, rollout_steps=4, batch=2)
    for scores in (result.one_step, *result.rollout):
        assert list(scores.pearson_r.values()) == pytest.approx([1.0] * 4, abs=1e-6)
        assert list(scores.vrmse.values()) == pytest.approx([0.0] * 4, abs=1e-5)
    assert len(result.rollout) == 4


def test_persistence_says_the_last_state_again() -> None:
    truth = advected()
    result = accuracy(persistence(4), Windows(truth), truth, rollout_steps=5, batch=2)
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
    result = accuracy(lambda w: 0.9 * advect(w), Windows(truth), truth, rollout_steps=4, batch=3)
    # With factor g a step, the l-th forecast is g^l times the (standardised) truth.
    for lead, scores in enumerate(result.rollout, start=1):
        x = (truth[:, HISTORY + lead - 1, 0].double() - MEAN[0]) / STD[0]
        spread = (x.square().mean((-2, -1)) / (x.var((-2, -1)) + 1e-7 / STD[0] ** 2)).sqrt().mean().item()
        assert scores.vrmse["tracer"] == pytest.approx((1 - 0.9**lead) * spread, rel=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_batch_does_not_matter(batch: int) -> None:
    truth = advected()
    one, other = (
        accuracy(lambda w: w[:, :4], Windows(truth), truth, rollout_steps=3, batch=b).model_dump()
        for b in (3, batch)
    )
    assert one["one_step"]["vrmse"] == pytest.approx(other["one_step"]["vrmse"], rel=1e-12)
    assert one["rollout"][2]["pearson_r"] == pytest.approx(other["rollout"][2]["pearson_r"], rel=1e-12)


def test_a_rollout_ends_with_its_trajectories() -> None:
    truth = advected(steps=6)
    assert len(accuracy(advect, Windows(truth), truth, rollout_steps=20, batch=2).rollout) == 6 - HISTORY


def test_a_rollout_that_diverges_has_no_score_from_there_on() -> None:
    truth = advected()
    result = accuracy(lambda w: 1e20 * advect(w), Windows(truth), truth, rollout_steps=3, batch=3)
    first, second = result.rollout[0].vrmse["tracer"], result.rollout[1].vrmse["tracer"]
    assert first is not None
    assert first > 1e19
    assert second is None
    assert result.rollout[2].pearson_r == dict.fromkeys(FIELDS)
