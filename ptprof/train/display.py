"""What a person sees of a training: a bar with losses and the time left, and a line an epoch in a log."""

from __future__ import annotations

import datetime
from typing import Any

from rich.progress import Progress, TaskID

from ptprof.records import Epoch


class Display:
    """One line of progress: a step at a time, with the losses of the last epoch.

    Where no terminal draws it, each epoch leaves a line instead.
    """

    def __init__(self, progress: Progress | None, model: str) -> None:
        self.progress, self.model = progress, model
        self.task: TaskID | None = None
        self.losses = ""
        self.of = 0

    def begin(self, done: int, of: int) -> None:
        """The training begins, or goes on, after ``done`` of at most so many steps."""
        self.of = of
        if self.progress is not None:
            self.task = self.progress.add_task(self.model, total=of, completed=done)

    def step(self, epoch: int, step: int, loss: float) -> None:
        """A step is done."""
        losses = self.losses or f"train {loss:.3g}"
        self._update(completed=step, description=f"{self.model} epoch {epoch} {losses}")

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is done and saved."""
        self.losses = f"train {epoch.train_loss:.3g} valid {epoch.valid_loss:.3g}"
        said = f"{self.model} epoch {epoch.epoch} {self.losses}"
        self._update(description=said)
        if self.progress is not None and not self.progress.disable and not self.progress.console.is_terminal:
            joules = "energy unknown" if (j := epoch.energy.joules) is None else f"{j:.3g} J"
            left_s = (self.of / epoch.steps - epoch.epoch) * epoch.duration_s
            left = f"at most {datetime.timedelta(seconds=round(left_s))} left"
            said += f", {epoch.duration_s:.3g} s, {joules}, {left}"
            self.progress.console.print(said, highlight=False)

    def end(self) -> None:
        """A training that stopped early is complete all the same."""
        if self.progress is not None and self.task is not None:
            self._update(total=self.progress.tasks[self.progress.task_ids.index(self.task)].completed)

    def _update(self, **changes: Any) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, **changes)
