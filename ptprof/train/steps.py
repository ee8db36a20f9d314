"""The steps of a training, done a few at a time to be metered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count, islice

import torch
from torch import Tensor

from ptprof.errors import TrainingError
from ptprof.train.data import Windows
from ptprof.train.loop import Loop
from ptprof.train.projection import EpochSize

Batch = tuple[Tensor, Tensor]


class Steps:
    """Training and validation steps of ``loop``, epoch after epoch; batches that are not full are left out.

    Attributes
    ----------
    size : of an epoch, in full batches
    """

    def __init__(self, loop: Loop, train: Windows, valid: Windows) -> None:
        batch = loop.recipe.batch
        full = min(batch, len(train)), min(batch, len(valid))
        self.size = EpochSize(min(loop.steps_per_epoch * batch, len(train)) / full[0], len(valid) / full[1])
        self._loop = loop
        self._step = 0
        self._train = _full(full[0], loop.train_batches)
        self._valid = _full(full[1], lambda _: loop.valid_batches())

    def train(self, steps: int) -> None:
        """Do the next ``steps`` training steps, epoch after epoch."""
        for inputs, targets in islice(self._train, steps):
            loss = self._loop.train_step(inputs, targets, self._step)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{self._loop.settings.model}: the training loss became {loss} after {self._step} steps:"
                    " there is no training to project"
                )
            self._step += 1

    def validate(self, steps: int) -> None:
        """Do the next ``steps`` validation steps, and wait for them."""
        losses = [self._loop.valid_step(*batch) for batch in islice(self._valid, steps)]
        float(torch.stack(losses).sum())


def _full(size: int, epoch: Callable[[int], Iterator[Batch]]) -> Iterator[Batch]:
    """The batches of ``size`` windows of one epoch after the other."""
    return (batch for number in count(1) for batch in epoch(number) if len(batch[0]) == size)
