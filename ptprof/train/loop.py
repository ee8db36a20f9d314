"""The training loop: one-step mean square error on standardised fields, AdamW, warm-up and cosine.

An epoch draws its randomness from its own seed, made of the training's seed and the epoch's number, so
that a training that goes on after a stop needs no saved random state to end with the same weights.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from ptprof.errors import TrainingError
from ptprof.records import EnergyBreakdown, Epoch
from ptprof.train.checkpoint import Settings, State, Weights, weights_of
from ptprof.train.recipe import Recipe
from ptprof.train.schedule import best, learning_rate, stop_reason

Windows = Dataset[tuple[Tensor, Tensor]]
Observer = Callable[[int, int, float], None]
"""Told of every step: the epoch (from 1), the step within the training (from 1), the step's loss."""


class MeteredWindow(Protocol):
    """What a window over energy gives once it is closed."""

    duration_s: float

    def breakdown(self) -> EnergyBreakdown: ...


class Meter(Protocol):
    """What opens windows over energy."""

    def window(self) -> AbstractContextManager[MeteredWindow]: ...


def seed_everything(seed: int, epoch: int) -> torch.Generator:
    """Seed python, numpy and torch for an epoch (0: the initial weights); gives the loader's generator."""
    entropy = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
    random.seed(entropy)
    np.random.seed(entropy % 2**32)
    torch.manual_seed(entropy)
    return torch.Generator().manual_seed(entropy)


def steps_per_epoch(windows: int, recipe: Recipe) -> int:
    """The steps of one epoch over ``windows`` windows."""
    every = math.ceil(windows / recipe.batch)
    return every if recipe.steps_per_epoch is None else min(recipe.steps_per_epoch, every)


class Loop:
    """A model in training, between epochs.

    Parameters
    ----------
    module : maps ``(B, h·C, X, Y)`` to ``(B, C, X, Y)``, standardised; moved to ``device``
    train, valid : items are (input ``(h·C, X, Y)``, target ``(C, X, Y)``)
    peak : the learning rate at the end of the warm-up
    workers : processes that read windows; 0 reads them here
    observe : told of every step
    """

    def __init__(
        self,
        module: nn.Module,
        train: Windows,
        valid: Windows,
        *,
        recipe: Recipe,
        settings: Settings,
        peak: float,
        device: str = "cpu",
        workers: int = 0,
        observe: Observer = lambda epoch, step, loss: None,
    ) -> None:
        self.device = torch.device(device)
        self.module = module.to(self.device)
        self.train, self.valid = train, valid
        self.recipe, self.settings, self.peak, self.workers = recipe, settings, peak, workers
        self.observe = observe
        self.steps_per_epoch = steps_per_epoch(_length(train), recipe)
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=peak, weight_decay=recipe.weight_decay
        )
        self.epochs: tuple[Epoch, ...] = ()
        self.best: Weights = {}

    def fit(self, meter: Meter, save: Callable[[State], None]) -> str:
        """Train until a rule stops it, saving the state after every epoch; returns the rule's reason.

        Raises
        ------
        TrainingError : a loss is no longer finite
        """
        while (reason := stop_reason(self.epochs, self.recipe)) is None:
            with meter.window() as window:
                epoch = len(self.epochs) + 1
                train_loss, rate = self._train(epoch)
                valid_loss = self._validate(epoch)
            self._close(epoch, train_loss, valid_loss, rate, window)
            save(self.state())
        return reason

    def state(self) -> State:
        """The training as it stands, to be saved before it goes on."""
        optimizer: dict[str, Any] = self.optimizer.state_dict()
        return State(self.settings, self.epochs, weights_of(self.module), self.best, optimizer)

    def restore(self, state: State) -> None:
        """Go on from ``state``."""
        self.module.load_state_dict(state.weights)
        self.optimizer.load_state_dict(state.optimizer)
        self.epochs, self.best = state.epochs, state.best

    def _train(self, epoch: int) -> tuple[float, float]:
        """Train for one epoch; the mean loss over its windows, and the last learning rate."""
        generator = seed_everything(self.settings.seed, epoch)
        order = torch.randperm(_length(self.train), generator=generator)
        batches = torch.split(order[: self.steps_per_epoch * self.recipe.batch], self.recipe.batch)
        self.module.train()
        first = (epoch - 1) * self.steps_per_epoch
        total, rate = 0.0, 0.0
        for step, (inputs, targets) in enumerate(self._loaded(self.train, batches, generator), start=first):
            rate = self._set_rate(step)
            self.optimizer.zero_grad(set_to_none=True)
            loss = functional.mse_loss(self.module(inputs), targets)
            torch.autograd.backward(loss)
            self.optimizer.step()
            value = loss.item()
            self._check(value, "training loss", epoch)
            total += value * len(inputs)
            self.observe(epoch, step + 1, value)
        return total / sum(len(batch) for batch in batches), rate

    def _validate(self, epoch: int) -> float:
        """The mean loss over the validation windows."""
        self.module.eval()
        count = _length(self.valid)
        total = 0.0
        with torch.inference_mode():
            batches = torch.split(torch.arange(count), self.recipe.batch)
            for inputs, targets in self._loaded(self.valid, batches):
                total += functional.mse_loss(self.module(inputs), targets).item() * len(inputs)
        self._check(total, "validation loss", epoch)
        return total / count

    def _loaded(
        self, windows: Windows, batches: tuple[Tensor, ...], generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        pinned = self.device.type == "cuda"
        indices = [batch.tolist() for batch in batches]
        loader = DataLoader(
            windows, batch_sampler=indices, num_workers=self.workers, pin_memory=pinned, generator=generator
        )
        for inputs, targets in loader:
            yield inputs.to(self.device, non_blocking=pinned), targets.to(self.device, non_blocking=pinned)

    def _set_rate(self, step: int) -> float:
        rate = learning_rate(
            step,
            peak=self.peak,
            warmup_steps=self.recipe.warmup_epochs * self.steps_per_epoch,
            total_steps=self.recipe.max_epochs * self.steps_per_epoch,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _check(self, loss: float, kind: str, epoch: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self.settings.model}: the {kind} became {loss} in epoch {epoch}: lower the learning rate"
                f" of recipe {self.settings.recipe!r}, or look for extreme values in the data"
            )

    def _close(
        self, epoch: int, train_loss: float, valid_loss: float, rate: float, window: MeteredWindow
    ) -> None:
        record = Epoch(
            epoch=epoch,
            steps=self.steps_per_epoch,
            train_loss=train_loss,
            valid_loss=valid_loss,
            learning_rate=rate,
            duration_s=window.duration_s,
            energy=window.breakdown(),
        )
        self.epochs = (*self.epochs, record)
        if best(self.epochs) is record:
            self.best = weights_of(self.module)


def _length(windows: Windows) -> int:
    return len(windows)  # type: ignore[arg-type]
