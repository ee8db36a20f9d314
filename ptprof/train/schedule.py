"""When to learn how fast, and when to stop: pure functions of the step and of the epochs so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ptprof.records import Epoch
from ptprof.train.recipe import Recipe

SECONDS_PER_HOUR = 3600.0


def learning_rate(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """The learning rate of ``step`` (from 0): a line up to ``peak``, then half a cosine towards zero.

    The line ends at ``peak`` with the last step of the warm-up; the cosine would reach zero at
    ``total_steps``, one step after the last.
    """
    if step < warmup_steps:
        return peak * ((step + 1) / warmup_steps)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def best(epochs: Sequence[Epoch]) -> Epoch:
    """The epoch with the lowest validation loss, the earlier of equals; there must be one."""
    return min(epochs, key=lambda e: (e.valid_loss, e.epoch))


def stop_reason(epochs: Sequence[Epoch], recipe: Recipe) -> str | None:
    """Why no further epoch is to be trained, in words; None while training goes on.

    The limit of hours stops a training before an epoch that, as long as the last one, would pass it.
    """
    if not epochs:
        return None
    last = epochs[-1]
    if last.epoch >= recipe.max_epochs:
        return f"all {recipe.max_epochs} epochs done"
    if last.epoch - best(epochs).epoch >= recipe.patience:
        return f"no better validation loss in {recipe.patience} epochs"
    spent_s = sum(e.duration_s for e in epochs)
    if spent_s + last.duration_s > recipe.max_hours * SECONDS_PER_HOUR:
        return f"another epoch would pass {recipe.max_hours:g} hours"
    return None
