"""Runtimes whose step is a Python function: from a state, and noise where it takes some, to what follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from ptprof.runtimes.base import Frames, Runner, closed
from ptprof.runtimes.metadata import Signature
from ptprof.runtimes.noise import Noise

Step = Callable[..., tuple[Tensor, Tensor] | Tensor]
"""Of a state, and of noise where it takes some; what is no forecast step gives one tensor."""


class StepQuery:
    """A query by calling a function; each state is copied into its frame, all that outlives a call."""

    def __init__(
        self, step: Step, state: Tensor, steps: int | None, noise: Noise, signature: Signature | None = None
    ) -> None:
        self._step = step
        self._state = state
        self._noise = noise
        self._frames = Frames(state, steps, signature)

    def __call__(self) -> None:
        self._noise.renew()
        self._compute()

    def _compute(self) -> None:
        state = self._state
        with torch.inference_mode():
            for frame, noise in zip(self._frames, self._noise.arguments, strict=True):
                following, state = both(self._step(state, *noise), state)
                frame.copy_(following)

    @property
    def result(self) -> Tensor:
        return self._frames.result


class FunctionRunner(Runner):
    """What such runtimes share: queries by calling the function."""

    _query: ClassVar[type[StepQuery]] = StepQuery

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self._step: Step | None = None

    def bind(self, state: Tensor, steps: int | None = None, noise: Tensor | None = None) -> StepQuery:
        step, state = self._open_step(), self.checked(state, steps)
        return self._query(step, state, steps, self.noise(state, steps, noise), self.signature)

    def step(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        step, state = self._open_step(), self.checked(state)
        drawn = self.noise(state, None, noise)
        with torch.inference_mode():
            return both(step(state, *drawn.renew()[0]), state)

    def close(self) -> None:
        self._step = None

    def _open_step(self) -> Step:
        if self._step is None:
            raise closed(self.runtime)
        return self._step


def both(given: tuple[Tensor, Tensor] | Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What a step gives; the output of what is no step, with its input as it was."""
    return (given, state) if isinstance(given, Tensor) else given
