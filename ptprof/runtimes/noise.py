"""The noise of steps that take one: drawn from a seed, the same for every runtime and device.

A step that samples its forecast, such as flow matching's, takes standard normal noise as a second input.
What a seed gives is drawn on the CPU whatever the device, since each device's own generator would give
something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ptprof.errors import UsageError

SEED = 0
"""The seed where none is named."""


def draw(seed: int, *shape: int) -> Tensor:
    """What ``seed`` gives, on the CPU: ``(B, C, X, Y)`` for one step, ``(B, L, C, X, Y)`` for a rollout.

    A generator is seeded once and draws ``(B, C, X, Y)`` for one step after the other, so that a longer
    rollout begins as a shorter one does, and one step takes what the first of a rollout takes.

    Raises
    ------
    UsageError : a shape of another length, or a seed that is negative or beyond 64 bits
    """
    if len(shape) not in (4, 5):
        raise UsageError(f"noise is (B, C, X, Y) or (B, L, C, X, Y), not of {len(shape)} dimensions")
    generator = seeded(seed)
    if len(shape) == 4:
        return torch.randn(shape, generator=generator)
    batch, steps, *frame = shape
    noise = torch.empty(steps, batch, *frame)
    _fill(noise, generator)
    return noise.transpose(0, 1).contiguous()


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU; UsageError for a seed that is negative or beyond 64 bits."""
    if not 0 <= seed < 2**64:
        raise UsageError(f"a seed is a number from 0 to 2⁶⁴ − 1, not {seed}")
    return torch.Generator().manual_seed(seed)


class Noise:
    """What each step of a query takes beside its state, in buffers that stay where they are.

    Attributes
    ----------
    arguments : for each step its noise ``(B, C, X, Y)``, or nothing where the step takes none
    """

    def __init__(self, arguments: Sequence[tuple[Tensor, ...]], drawn: Tensor | None = None) -> None:
        self.arguments = arguments
        self._drawn = drawn

    @classmethod
    def none(cls, steps: int | None) -> Self:
        """For steps that take none; ``steps`` is None for one step."""
        return cls([()] * (steps or 1))

    @classmethod
    def given(cls, noise: Tensor, steps: int | None) -> Self:
        """``noise`` ``(B, C, X, Y)``, or ``(B, L, C, X, Y)`` of a rollout, for every call."""
        each = noise.unsqueeze(0) if steps is None else noise.transpose(0, 1)
        return cls([(step,) for step in each.contiguous()])

    @classmethod
    def drawn(cls, state: Tensor, steps: int | None) -> Self:
        """For ``state`` ``(B, h, C, X, Y)``, on its device: drawn from `SEED` at every call."""
        batch, _, *frame = state.shape
        buffer = state.new_empty((steps or 1, batch, *frame))
        return cls([(step,) for step in buffer], buffer)

    def renew(self) -> Sequence[tuple[Tensor, ...]]:
        """Draw what is to be drawn for the next call; gives `arguments`."""
        if self._drawn is not None:
            with torch.inference_mode():
                _fill(self._drawn, seeded(SEED))
        return self.arguments


def _fill(steps: Tensor, generator: torch.Generator) -> None:
    """Draw each of ``steps`` ``(L, B, C, X, Y)`` in turn."""
    for step in steps:
        if step.device.type == "cpu":
            step.normal_(generator=generator)
        else:
            step.copy_(torch.randn(step.shape, generator=generator))
