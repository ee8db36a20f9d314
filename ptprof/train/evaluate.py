"""Accuracy on a split: one step over all windows, and rollouts from the first states.

A forecaster here is any function from standardised windows ``(B, h·C, X, Y)`` to the next standardised
state ``(B, C, X, Y)``, so that a trained model and persistence are scored by the same code. Scores are
taken in physical units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ptprof.records import Accuracy, Scores, Statistics
from ptprof.train.data import Windows
from ptprof.train.data.shear_flow import LENGTHS
from ptprof.train.scores import MeanScores
from ptprof.train.spectra import Modes

Forecaster = Callable[[Tensor], Tensor]


def persistence(fields: int) -> Forecaster:
    """The forecaster that says: the next state is the last one of the window."""
    return lambda window: window[:, -fields:]


def accuracy(
    forecaster: Forecaster,
    windows: Windows,
    *,
    rollout_steps: int,
    batch: int,
    device: str = "cpu",
) -> Accuracy:
    """Score ``forecaster`` on a split of the data, reading whole trajectories and never all of them.

    Parameters
    ----------
    forecaster : maps ``(B, h·C, X, Y)`` to ``(B, C, X, Y)``, both standardised, on ``device``
    windows : the split; its statistics and history are those of the rollouts too
    rollout_steps : steps of each rollout; fewer where the trajectories end earlier
    batch : windows, or trajectories, forecast at once

    Returns
    -------
    means over all windows for one step, and over trajectories for each step of a rollout that starts
    from the first ``h`` states
    """
    modes = Modes(windows.grid, LENGTHS, device)
    with torch.inference_mode():
        return Accuracy(
            one_step=_one_step(forecaster, windows, modes, batch, device),
            rollout=_rollouts(forecaster, windows, modes, rollout_steps, batch, device),
        )


def rollout(forecaster: Forecaster, start: Tensor, statistics: Statistics, steps: int) -> Iterator[Tensor]:
    """Forecast ``steps`` states, one after the other, each fed with those before it.

    Parameters
    ----------
    start : ``(B, h, C, X, Y)``, the states known, in physical units, on the forecaster's device

    Yields
    ------
    ``(B, C, X, Y)``, physical units
    """
    mean, std = _scale(statistics, start.device)
    window = ((start - mean) / std).flatten(1, 2)
    for _ in range(steps):
        following = forecaster(window)
        yield following * std + mean
        window = torch.cat([window[:, following.shape[1] :], following], dim=1)


def _one_step(forecaster: Forecaster, windows: Windows, modes: Modes, batch: int, device: str) -> Scores:
    scores = MeanScores(windows.fields, modes)
    h = windows.history
    # One trajectory at a time, since a state is then read once and not once for each window it is in.
    for trajectories in windows.trajectories(batch=1, steps=None):
        states = trajectories[0].to(device)
        starts = states[:-1].unfold(0, h, 1).movedim(-1, 1)
        for start, target in zip(torch.split(starts, batch), torch.split(states[h:], batch), strict=True):
            (prediction,) = rollout(forecaster, start, windows.statistics, 1)
            scores.add(prediction, target, start[:, -1])
    return scores.scores()


def _rollouts(
    forecaster: Forecaster, windows: Windows, modes: Modes, steps: int, batch: int, device: str
) -> tuple[Scores, ...]:
    h = windows.history
    scores: list[MeanScores] = []
    for trajectories in windows.trajectories(batch=batch, steps=h + steps):
        truth = trajectories.to(device)
        start = truth[:, :h]
        scores = scores or [MeanScores(windows.fields, modes) for _ in range(truth.shape[1] - h)]
        forecasts = rollout(forecaster, start, windows.statistics, len(scores))
        for lead, (means, prediction) in enumerate(zip(scores, forecasts, strict=True)):
            means.add(prediction, truth[:, h + lead], start[:, -1])
    return tuple(means.scores() for means in scores)


def _scale(statistics: Statistics, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation as ``(C, 1, 1)``, to be broadcast over states."""
    mean, std = (torch.tensor(v, device=device).reshape(-1, 1, 1) for v in (statistics.mean, statistics.std))
    return mean, std
