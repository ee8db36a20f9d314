"""The whole test set, one query after the other, as the paper asks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import Tensor

from ptprof.errors import DataError
from ptprof.records import EstimateRecord, ModelRecord
from ptprof.study import Study
from ptprof.train.data import Windows, synthetic
from ptprof.train.data.generate import plan
from ptprof.train.recipe import load_recipe


class WholeSplit:
    """What a study holds to ask a run with, read from the files as it is asked; physical units.

    A run that was not trained is asked as many times with synthetic states, for its study needs no data.

    Attributes
    ----------
    window_count : one-step queries: every window of ``history`` states that another one follows
    trajectory_count : rollouts, each from the first states of a trajectory

    Raises
    ------
    DataError : no test data, or of another grid or other fields than the run's
    """

    def __init__(self, study: Study, run: ModelRecord) -> None:
        recipe = load_recipe(run.recipe)
        self._run = run
        self._split: Windows | None = None
        if isinstance(run, EstimateRecord):
            self.trajectory_count = Counter(place.split for place in plan(recipe))["test"]
            self.window_count = self.trajectory_count * (recipe.data.steps - run.history)
            return
        # Held nowhere: reading it is a part of asking.
        split = Windows(
            study.data,
            "test",
            run.history,
            settings=recipe.selection,
            statistics=run.statistics,
            preload=False,
        )
        if (tuple(split.grid), tuple(split.fields)) != (run.grid, run.statistics.fields):
            raise DataError(
                f"{study.data} is not what {run.run} was trained on: other fields or another grid"
            )
        self._split = split
        self.window_count = len(split)
        self.trajectory_count = split.trajectory_count

    def windows(self) -> Iterator[Tensor]:
        """Each window ``(1, h, C, X, Y)``, in time, trajectory after trajectory."""
        h = self._run.history
        if self._split is None:
            yield from self._synthetic(self.window_count)
            return
        for trajectory in self._split.trajectories(batch=1):
            # A state is read once, and not once for each window that it is in.
            for start in range(trajectory.shape[1] - h):
                yield trajectory[:, start : start + h]

    def starts(self) -> Iterator[Tensor]:
        """The first window of each trajectory, ``(1, h, C, X, Y)``."""
        if self._split is None:
            yield from self._synthetic(self.trajectory_count)
            return
        yield from self._split.trajectories(batch=1, steps=self._run.history)

    def _synthetic(self, count: int) -> Iterator[Tensor]:
        run = self._run
        states = synthetic.windows(synthetic.WINDOWS, run.history, run.grid, run.statistics)
        yield from (states[i % len(states)][None] for i in range(count))
