"""The training loop: the mean loss of one step on standardised fields, AdamW, warm-up and cosine.

An epoch draws its randomness from its own seed, made of the training's seed and the epoch's number, so
that a training that goes on after a stop needs no saved random state to end with the same weights.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed, nn
from torch.utils.data import Dataset

from ptprof.errors import TrainingError
from ptprof.records import Epoch
from ptprof.train.checkpoint import Settings, State, Weights, weights_of
from ptprof.train.data import loader
from ptprof.train.models.convolution import Convolutional
from ptprof.train.objective import Objective
from ptprof.train.optimizer import AdamW
from ptprof.train.processes import Share, gathered, together
from ptprof.train.recipe import Recipe
from ptprof.train.schedule import best, learning_rate, stop_reason

Windows = Dataset[tuple[Tensor, Tensor]]
Observer = Callable[[int, int, float], None]
"""Told of every step: the epoch (from 1), the step within the training (from 1), the step's loss."""


class Meter(Protocol):
    """What opens windows over energy."""

    def window(self) -> AbstractContextManager[Any]: ...


Watch = Callable[[int, Any], AbstractContextManager[Any]]
"""Entered for the length of each epoch, with its number and its open window."""


def seed_everything(seed: int, epoch: int, rank: int = 0) -> torch.Generator:
    """Seed python, numpy and torch for an epoch (0: the initial weights); gives a generator for its order.

    Several processes draw differently, each by its ``rank``, but for that generator, which is the same.
    """
    entropy = _entropy(seed, epoch)
    own = _entropy(seed, epoch, rank) if rank else entropy
    random.seed(own)
    np.random.seed(own % 2**32)
    torch.manual_seed(own)
    return torch.Generator().manual_seed(entropy)


def steps_per_epoch(windows: int, recipe: Recipe, processes: int = 1) -> int:
    """The steps of one epoch over ``windows`` windows."""
    every = math.ceil(windows / (recipe.batch * processes))
    return every if recipe.steps_per_epoch is None else min(recipe.steps_per_epoch, every)


class Loop:
    """A model in training, between epochs.

    Parameters
    ----------
    module : maps ``(B, h·C, X, Y)`` to ``(B, C, X, Y)``, standardised; moved to the device of ``fabric``
    train, valid : items are (input ``(h·C, X, Y)``, target ``(C, X, Y)``)
    peak : the learning rate at the end of the warm-up
    fabric : as `ptprof.train.execution.launch` gives it for ``settings.execution``
    workers : threads that read windows, as for `ptprof.train.data.loader.batches`
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
        fabric: Fabric,
        workers: int = 0,
        observe: Observer = lambda epoch, step, loss: None,
    ) -> None:
        self.fabric, self.execution = fabric, settings.execution
        self.module = module.to(fabric.device)
        self.train, self.valid = train, valid
        self.recipe, self.settings, self.peak, self.workers = recipe, settings, peak, workers
        self.observe = observe
        self.steps_per_epoch = steps_per_epoch(_length(train), recipe, fabric.world_size)
        for part in self.module.modules():
            if isinstance(part, Convolutional):
                part.lay_out(self.execution.channels_last)
        self._objective = Objective(self.module)
        if self.execution.compiled:
            self._objective.compile()
        self._shared = fabric.setup_module(self._objective, move_to_device=False)
        self.optimizer = AdamW(self.module.parameters(), lr=peak, weight_decay=recipe.weight_decay)
        self.epochs: tuple[Epoch, ...] = ()
        self.best: Weights = {}

    @property
    def steps_done(self) -> int:
        """The steps of the epochs so far."""
        return len(self.epochs) * self.steps_per_epoch

    def fit(
        self,
        meter: Meter,
        save: Callable[[State], None],
        watch: Watch = lambda epoch, window: nullcontext(),
        host: str = "",
    ) -> str:
        """Train until a rule stops it, saving the state after every epoch; returns the rule's reason.

        Parameters
        ----------
        host : the machine of this process, whose counters count once for all its processes

        Raises
        ------
        TrainingError : a loss is no longer finite
        """
        while (reason := stop_reason(self.epochs, self.recipe)) is None:
            epoch = len(self.epochs) + 1
            with meter.window() as window, watch(epoch, window):
                train_loss, rate = self._train(epoch)
                valid_loss = self.validate(epoch)
            spent = Share(host=host, duration_s=window.duration_s, energy=window.breakdown())
            self._close(epoch, train_loss, valid_loss, rate, spent)
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

    def train_batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Begin an epoch: this process's share of each of its batches, one for each `train_step`."""
        generator = seed_everything(self.settings.seed, epoch, self.fabric.global_rank)
        order = torch.randperm(_length(self.train), generator=generator)
        whole = self.recipe.batch * self.fabric.world_size
        stop = min(self.steps_per_epoch * whole, len(order))
        self.module.train()
        return self._loaded(self.train, [self._share(order[i : i + whole]) for i in range(0, stop, whole)])

    def train_step(self, inputs: Tensor, targets: Tensor, step: int) -> float:
        """One step of the optimiser, ``step`` counting from 0 over all epochs; the mean loss over its batch.

        The batch is what all processes have together. Each takes its share in as many parts as accumulate.
        """
        self._set_rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        total, share = self._windows(step)
        count = min(self.execution.accumulate, len(inputs))
        parts = list(zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True))
        mean = torch.zeros((), device=self.fabric.device)
        for left, (some, wanted) in enumerate(parts, start=1 - len(parts)):
            weight = len(some) / total if share else 0.0
            with self.fabric.no_backward_sync(self._shared, enabled=left < 0):
                loss = self._shared(some, wanted)
                # The gradients of several processes are averaged, not added up.
                self.fabric.backward(loss * (weight * self.fabric.world_size))
            mean += loss.detach() * weight
        self.optimizer.step()
        return float(self._summed(mean))

    def validate(self, epoch: int) -> float:
        """The mean loss over the validation windows; where it draws noise, the same in every epoch."""
        if self.fabric.world_size > 1:
            # Batch norms have seen other windows in each process: what is kept is what is validated.
            for buffer in self.module.buffers():
                distributed.broadcast(buffer, src=0)
        total = torch.zeros((), dtype=torch.float64, device=self.fabric.device)
        gpus = [self.fabric.device.index] if self.fabric.device.type == "cuda" else []
        with torch.random.fork_rng(gpus):
            torch.manual_seed(_entropy(self.settings.seed, 0, self.fabric.global_rank))
            for inputs, targets in self.valid_batches():
                total += self.valid_step(inputs, targets) * len(inputs)
        loss = float(self._summed(total)) / _length(self.valid)
        self._check(loss, "validation loss", epoch)
        return loss

    def valid_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the validation windows."""
        every = torch.arange(_length(self.valid))
        mine = every.tensor_split(self.fabric.world_size)[self.fabric.global_rank]
        size = self.recipe.batch
        return self._loaded(self.valid, [mine[i : i + size] for i in range(0, len(mine), size)])

    def valid_step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, ``()``, without a step."""
        self.module.eval()
        with torch.inference_mode(), self.fabric.autocast():
            # Not compiled: it would be compiled a second time, for a few per cent of the epoch.
            loss = self._objective.forward(inputs, targets)
        return loss

    def _train(self, epoch: int) -> tuple[float, float]:
        """Train for one epoch; the mean loss over its windows, and the last learning rate."""
        total, windows = 0.0, 0
        for step, (inputs, targets) in enumerate(self.train_batches(epoch), start=self.steps_done):
            loss = self.train_step(inputs, targets, step)
            self._check(loss, "training loss", epoch)
            count, _ = self._windows(step)
            total, windows = total + loss * count, windows + count
            self.observe(epoch, step + 1, loss)
        return total / windows, self.optimizer.param_groups[0]["lr"]

    def _share(self, batch: Tensor) -> Tensor:
        """This process's windows of a batch; one of them, to be weighted by nothing, where it has none."""
        share = batch.tensor_split(self.fabric.world_size)[self.fabric.global_rank]
        return share if len(share) else batch[:1]

    def _windows(self, step: int) -> tuple[int, int]:
        """How many windows the batch of ``step`` has, and how many of them are this process's."""
        whole = self.recipe.batch * self.fabric.world_size
        total = min(whole, _length(self.train) - step % self.steps_per_epoch * whole)
        every, over = divmod(total, self.fabric.world_size)
        return total, every + (self.fabric.global_rank < over)

    def _summed(self, value: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.fabric.world_size > 1:
            distributed.all_reduce(value)
        return value

    def _loaded(self, windows: Windows, batches: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        return loader.batches(windows, batches, device=self.fabric.device, workers=self.workers)

    def _set_rate(self, step: int) -> None:
        rate = learning_rate(
            step,
            peak=self.peak,
            warmup_steps=self.recipe.warmup_epochs * self.steps_per_epoch,
            total_steps=self.recipe.max_epochs * self.steps_per_epoch,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _check(self, loss: float, kind: str, epoch: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self.settings.model}: the {kind} became {loss} in epoch {epoch}: lower the learning rate"
                f" of recipe {self.settings.recipe!r}, or look for extreme values in the data"
            )

    def _close(self, epoch: int, train_loss: float, valid_loss: float, rate: float, spent: Share) -> None:
        """Record the epoch, the same on every process: what all of them ``spent``."""
        by_all = together(gathered(spent))
        record = Epoch(
            epoch=epoch,
            steps=self.steps_per_epoch,
            train_loss=train_loss,
            valid_loss=valid_loss,
            learning_rate=rate,
            duration_s=by_all.duration_s,
            energy=by_all.energy,
        )
        self.epochs = (*self.epochs, record)
        if best(self.epochs) is record:
            self.best = weights_of(self.module)


def _entropy(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def _length(windows: Windows) -> int:
    return len(windows)  # type: ignore[arg-type]
