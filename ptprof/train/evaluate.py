"""Accuracy on the test split: one step over all windows, and rollouts from the first states.

A forecaster here is any function from standardised windows ``(B, h·C, X, Y)`` to the next standardised
state ``(B, C, X, Y)``, so that a trained model and persistence are scored by the same code. Scores are
taken in physical units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ptprof.records import Accuracy, Scores, Statistics
from ptprof.train.data import Windows
from ptprof.train.metrics import MeanScores

Forecaster = Callable[[Tensor], Tensor]


def persistence(fields: int) -> Forecaster:
    """The forecaster that says: the next state is the last one of the window."""
    return lambda window: window[:, -fields:]


def accuracy(
    forecaster: Forecaster,
    windows: Windows,
    trajectories: Tensor,
    *,
    rollout_steps: int,
    batch: int,
    device: str = "cpu",
) -> Accuracy:
    """Score ``forecaster`` on a split of the data.

    Parameters
    ----------
    forecaster : maps ``(B, h·C, X, Y)`` to ``(B, C, X, Y)``, both standardised, on ``device``
    windows : the split's windows; their statistics and history are those of the rollouts too
    trajectories : ``(N, T, C, X, Y)``, the same split in physical units
    rollout_steps : steps of each rollout; fewer where the trajectories end earlier
    batch : windows, or trajectories, forecast at once

    Returns
    -------
    means over all windows for one step, and over trajectories for each step of a rollout that starts
    from the first ``h`` states
    """
    with torch.inference_mode():
        return Accuracy(
            one_step=_one_step(forecaster, windows, batch, device),
            rollout=_rollout(forecaster, trajectories, windows, rollout_steps, batch, device),
        )


def _one_step(forecaster: Forecaster, windows: Windows, batch: int, device: str) -> Scores:
    scores = MeanScores(windows.fields)
    mean, std = _scale(windows.statistics, device)
    for inputs, targets in DataLoader(windows, batch_size=batch):
        prediction = forecaster(inputs.to(device))
        scores.add(prediction * std + mean, targets.to(device) * std + mean)
    return scores.scores()


def _rollout(
    forecaster: Forecaster, trajectories: Tensor, windows: Windows, steps: int, batch: int, device: str
) -> tuple[Scores, ...]:
    history = windows.history
    mean, std = _scale(windows.statistics, device)
    scores = [MeanScores(windows.fields) for _ in range(min(steps, trajectories.shape[1] - history))]
    for chosen in torch.split(trajectories[:, : history + len(scores)], batch):
        truth = chosen.to(device)
        window = ((truth[:, :history] - mean) / std).flatten(1, 2)
        for lead, means in enumerate(scores):
            following = forecaster(window)
            means.add(following * std + mean, truth[:, history + lead])
            window = torch.cat([window[:, following.shape[1] :], following], dim=1)
    return tuple(means.scores() for means in scores)


def _scale(statistics: Statistics, device: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation as ``(C, 1, 1)``, to be broadcast over states."""
    mean, std = (torch.tensor(v, device=device).reshape(-1, 1, 1) for v in (statistics.mean, statistics.std))
    return mean, std
