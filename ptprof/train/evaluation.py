"""Trained models scored again: on the data they were made for or on others, over rollouts of any length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from ptprof.errors import DataError
from ptprof.records import Accuracy, RunRecord, Statistics, Value
from ptprof.runtimes.allocator import keep_memory
from ptprof.study import Study
from ptprof.train.data import DatasetInfo, Windows, info
from ptprof.train.data.reading import Settings
from ptprof.train.evaluate import Forecaster, accuracy, persistence, rollout
from ptprof.train.forecaster import forecaster
from ptprof.train.recipe import Recipe, load_recipe
from ptprof.train.training import load

SPLIT = "test"
SHOWN = 5
"""States of a rollout that are kept to be looked at."""


class Evaluation(Value):
    """How well one trained model forecasts the test split of ``data``, and persistence beside it."""

    run: str
    model: str
    data: str
    device: str
    accuracy: Accuracy
    persistence: Accuracy


@dataclass(frozen=True)
class Example:
    """Some states of the rollout from the start of the split's first trajectory, in physical units.

    ``truth`` and ``forecast`` are ``(S, C, X, Y)``, float32; ``steps`` counts those of the rollout from 1,
    and ``times`` is the time of each state in the flow's units.
    """

    fields: tuple[str, ...]
    steps: tuple[int, ...]
    times: tuple[float, ...]
    truth: NDArray[np.float32]
    forecast: NDArray[np.float32]


def evaluate(
    study: Study,
    runs: Sequence[RunRecord],
    *,
    data: Path | None = None,
    steps: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Iterator[tuple[Evaluation, Example]]:
    """Score each of ``runs`` on a test split; what the study holds of it stays as it is.

    Parameters
    ----------
    data : a folder in The Well's layout; None for the study's own. Where it has flows that a training by a
        run's recipe selects, those are scored, else all that it has
    steps : of a rollout; None for the recipe's

    Raises
    ------
    DataError : data that is missing, damaged, or on another grid than a run's
    StudyError : a run whose checkpoint cannot be used
    """
    keep_memory()
    folder = data or study.data
    held = info(folder)

    @cache
    def split(recipe: str, history: int, statistics: Statistics) -> Windows:
        settings = _settings(load_recipe(recipe), held)
        return Windows(
            folder, SPLIT, history, settings=settings, statistics=statistics, preload=False, device=device
        )

    @cache
    def baseline(windows: Windows, steps: int, batch: int) -> Accuracy:
        forecast = persistence(len(windows.fields))
        return accuracy(forecast, windows, rollout_steps=steps, batch=batch, device=device)

    task = None if progress is None else progress.add_task("evaluate", total=len(runs))
    for run in runs:
        if held.grid != run.grid:
            raise DataError(
                f"{folder} is on {_sides(held.grid)}, and {run.run} was trained on {_sides(run.grid)}:"
                " name its data with --data, or other models"
            )
        if progress is not None and task is not None:
            progress.update(task, description=f"evaluate {run.model}")
        recipe = load_recipe(run.recipe)
        windows = split(run.recipe, run.history, run.statistics)
        length = steps or recipe.rollout_steps
        module = load(study, run).to(device)
        scores = accuracy(
            forecaster(module), windows, rollout_steps=length, batch=recipe.batch, device=device
        )
        evaluation = Evaluation(
            run=run.run,
            model=run.model,
            data=str(folder),
            device=device,
            accuracy=scores,
            persistence=baseline(windows, length, recipe.batch),
        )
        if progress is not None and task is not None:
            progress.advance(task)
        yield evaluation, _example(forecaster(module), windows, len(scores.rollout), held.dt, device)


def _settings(recipe: Recipe, held: DatasetInfo) -> Settings | None:
    """What a training selects, where the data has any of it; None, which is all, where it has none."""
    wanted = recipe.selection
    flows = [(s["Reynolds"], s["Schmidt"]) for s in held.scalars if {"Reynolds", "Schmidt"} <= s.keys()]
    known = any(
        all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(flow, setting, strict=True))
        for flow in flows
        for setting in wanted or ()
    )
    return wanted if known else None


def _example(forecast: Forecaster, windows: Windows, steps: int, dt: float, device: str) -> Example:
    h = windows.history
    states = next(windows.trajectories(batch=1, steps=h + steps))
    shown = sorted({1, *(max(1, round(steps * i / (SHOWN - 1))) for i in range(1, SHOWN))})
    with torch.inference_mode():
        following = list(rollout(forecast, states[:, :h].to(device), windows.statistics, steps))
        kept = torch.cat([following[step - 1] for step in shown]).cpu()
    return Example(
        fields=windows.fields,
        steps=tuple(shown),
        times=tuple((h + step - 1) * dt for step in shown),
        truth=states[0, [h + step - 1 for step in shown]].numpy(),
        forecast=kept.numpy(),
    )


def _sides(grid: tuple[int, int]) -> str:
    return f"{grid[0]}×{grid[1]}"
