"""A module as it is, by torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.base import Frames, Runner, StateShape, closed
from ptprof.runtimes.noise import Noise

Step = Callable[..., tuple[Tensor, Tensor]]
"""Of a state, and of noise where it takes some."""


class TorchRunner(Runner):
    """What the runtimes that are torch share: queries by calling a module.

    Parameters
    ----------
    threads : torch's CPU threads, for the whole process; None leaves them as they are
    """

    def __init__(self, *, device: str, threads: int | None) -> None:
        super().__init__(device)
        self.provider = f"torch {torch.device(self.device).type}"
        keep_memory()
        if threads is not None:
            torch.set_num_threads(threads)
        if self.device != "cpu":
            # Full fp32, as on the CPU and in every other runtime here: TF32 keeps ten bits.
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        self._step: Step | None = None

    def bind(self, state: Tensor, steps: int | None = None, noise: Tensor | None = None) -> TorchQuery:
        step, state = self._open_step(), self.checked(state, steps)
        return TorchQuery(step, state, steps, self.noise(state, steps, noise))

    def step(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        step, state = self._open_step(), self.checked(state)
        drawn = self.noise(state, None, noise)
        with torch.inference_mode():
            return step(state, *drawn.renew()[0])

    def close(self) -> None:
        self._step = None

    def _open_step(self) -> Step:
        if self._step is None:
            raise closed(self.runtime)
        return self._step


class TorchQuery:
    """A query on torch; each step's state is copied into its frame, which is all that outlives a call."""

    def __init__(self, step: Step, state: Tensor, steps: int | None, noise: Noise) -> None:
        self._step = step
        self._state = state
        self._noise = noise
        self._frames = Frames(state, steps)

    def __call__(self) -> None:
        state = self._state
        with torch.inference_mode():
            for frame, noise in zip(self._frames, self._noise.renew(), strict=True):
                following, state = self._step(state, *noise)
                frame.copy_(following)

    @property
    def result(self) -> Tensor:
        return self._frames.result


class EagerRunner(TorchRunner):
    """A step that is an ``nn.Module``, moved to the device and put into eval mode."""

    runtime: ClassVar[str] = "eager"

    def __init__(self, module: nn.Module, *, device: str = "cpu", threads: int | None = None) -> None:
        super().__init__(device=device, threads=threads)
        self.state_shape: StateShape | None = getattr(module, "state_shape", None)
        self.takes_noise = bool(getattr(module, "takes_noise", False))
        self.nfe: int | None = getattr(module, "nfe", None)
        self._step = module.eval().to(self.device)
