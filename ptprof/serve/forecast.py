"""One query on its way, and one step of several at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptprof.runtimes import Runner
from ptprof.runtimes.noise import seeded
from ptprof.serve.ledger import Spent
from ptprof.serve.query import Query

Outputs = dict[str, NDArray[np.float32]]


@dataclass
class Timing:
    """How long the parts of the work took, ns: waiting, to the device, the model, and back."""

    queue: int = 0
    input: int = 0
    infer: int = 0
    output: int = 0

    def add(self, other: Timing) -> None:
        """Take the work of ``other`` in; waiting is a task's own."""
        self.input += other.input
        self.infer += other.infer
        self.output += other.output


@dataclass(eq=False)
class Task:
    """A query, as far as it is computed; its state stays on the device from step to step.

    It belongs to the worker's thread from when it is submitted to when that is answered, and to who asked
    before and after.

    Attributes
    ----------
    deadline_s : on the monotonic clock, when to give it up; None: never
    ready : what a streamed rollout has computed since it was last submitted, or all of another query
    batches : how many calls of the model it took part in
    """

    query: Query
    deadline_s: float | None = None
    done: int = 0
    cancelled: bool = False
    ready: Outputs = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    timing: Timing = field(default_factory=Timing)
    _state: Tensor | None = None
    _states: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self._generator = seeded(self.query.seed)

    @property
    def size(self) -> int:
        """How many states it forecasts from."""
        return len(self.query.state)

    @property
    def finished(self) -> bool:
        return self.done == self.query.steps

    @property
    def pauses(self) -> bool:
        """Whether what there is now is to be handed out before it goes on."""
        return self.finished or (self.query.stream and bool(self.ready))

    def inputs(self, runner: Runner) -> tuple[Tensor, Tensor | None]:
        """The window ``(B, h, C, X, Y)`` of the next step, and its noise ``(B, C, X, Y)`` if it takes any."""
        if self._state is None:
            self._state = torch.from_numpy(self.query.state).to(runner.device)
        return self._state, self._noise().to(runner.device) if runner.takes_noise else None

    def advance(self, following: Tensor, state_out: Tensor) -> None:
        """Take in a step: ``next`` ``(B, C, X, Y)`` and the window that follows."""
        self._state = state_out
        self.done += 1
        self.ready = {}
        wanted = {output.name for output in self.query.outputs}
        if "next" in wanted:
            self.ready["next"] = _host(following)
        if "states" in wanted and self.done % self.query.keep_every == 0:
            self._keep(following)
        if self.finished and self._states is not None:
            self.ready["states"] = self._states
        if self.finished and "state_out" in wanted:
            self.ready["state_out"] = _host(state_out)

    def _keep(self, following: Tensor) -> None:
        """Take a state of a rollout to the host: to be sent at once, or together with the others."""
        if self.query.stream:
            self.ready["states"] = _host(following.unsqueeze(1))
            return
        if self._states is None:
            self._states = np.empty((self.size, self.query.kept, *following.shape[1:]), dtype=np.float32)
        torch.from_numpy(self._states)[:, self.done // self.query.keep_every - 1].copy_(following)

    def _noise(self) -> Tensor:
        given = self.query.noise
        if given is None:
            # As `ptprof.runtimes.noise.draw`: one frame of the batch after the other from one generator.
            batch, _, *frame = self.query.state.shape
            return torch.randn(batch, *frame, generator=self._generator)
        return torch.from_numpy(
            given if self.query.rollout_steps is None else given[:, self.done]
        ).contiguous()


def step(runner: Runner, tasks: Sequence[Task]) -> Timing:
    """One step of all ``tasks`` together; to be called on the one thread that owns ``runner``.

    Returns how long its parts took.
    """
    begun = time.perf_counter_ns()
    windows, noises = zip(*(task.inputs(runner) for task in tasks), strict=True)
    state, noise = _joined(windows), _joined(noises) if runner.takes_noise else None
    moved = time.perf_counter_ns()
    following, state_out = runner.step(state, noise)
    runner.synchronize()
    inferred = time.perf_counter_ns()
    sizes = [task.size for task in tasks]
    forecasts, windows = torch.split(following, sizes), torch.split(state_out, sizes)
    for task, own, window in zip(tasks, forecasts, windows, strict=True):
        task.advance(own, window)
    return Timing(input=moved - begun, infer=inferred - moved, output=time.perf_counter_ns() - inferred)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat(tuple(tensors)) if len(tensors) > 1 else tensors[0]


def _host(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.contiguous().cpu().numpy()
    return array
