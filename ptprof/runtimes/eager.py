"""A module as it is, by torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.base import Frames, Runner, StateShape, closed
from ptprof.runtimes.cuda_graph import CALLS_BEFORE, captured, wanted
from ptprof.runtimes.metadata import Signature
from ptprof.runtimes.noise import Noise

Step = Callable[..., tuple[Tensor, Tensor] | Tensor]
"""Of a state, and of noise where it takes some; what is no forecast step gives one tensor."""


class TorchRunner(Runner):
    """What the runtimes that are torch share: queries by calling a module.

    Parameters
    ----------
    threads : torch's CPU threads, for the whole process; None leaves them as they are
    tf32 : let products and convolutions of fp32 on a GPU round what they take to TF32, in the whole process
    """

    def __init__(
        self, *, device: str, threads: int | None, precision: str = "fp32", tf32: bool = False
    ) -> None:
        super().__init__(device)
        self.provider = provider(self.device, precision, tf32)
        keep_memory()
        if threads is not None:
            torch.set_num_threads(threads)
        if self.device != "cpu":
            # Unless asked for, full fp32 as on the CPU: torch itself takes TF32 for convolutions.
            torch.backends.cudnn.allow_tf32 = tf32
            torch.backends.cuda.matmul.allow_tf32 = tf32
            # Shapes stay the same: convolutions try their algorithms once and keep the fastest.
            torch.backends.cudnn.benchmark = True
        self._step: Step | None = None

    def bind(self, state: Tensor, steps: int | None = None, noise: Tensor | None = None) -> TorchQuery:
        step, state = self._open_step(), self.checked(state, steps)
        return TorchQuery(step, state, steps, self.noise(state, steps, noise), self.signature)

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


class TorchQuery:
    """A query on torch; each step's state is copied into its frame, which is all that outlives a call.

    On a GPU one that is asked again and again becomes a CUDA graph, a rollout whole.
    """

    def __init__(
        self,
        step: Step,
        state: Tensor,
        steps: int | None,
        noise: Noise,
        signature: Signature | None = None,
    ) -> None:
        self._step = step
        self._state = state
        self._noise = noise
        self._frames = Frames(state, steps, signature)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0

    def __call__(self) -> None:
        self._noise.renew()
        if self._calls == CALLS_BEFORE and wanted(self._state.device):
            self._graph = captured(self._compute, self._state.device)
        self._calls += 1
        if self._graph is None:
            self._compute()
        else:
            self._graph.replay()

    def _compute(self) -> None:
        state = self._state
        with torch.inference_mode():
            for frame, noise in zip(self._frames, self._noise.arguments, strict=True):
                following, state = both(self._step(state, *noise), state)
                frame.copy_(following)

    @property
    def result(self) -> Tensor:
        return self._frames.result


def both(given: tuple[Tensor, Tensor] | Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What a step gives; the output of what is no step, with its input as it was."""
    return (given, state) if isinstance(given, Tensor) else given


def provider(device: str, precision: str = "fp32", tf32: bool = False, *, by: str = "torch") -> str:
    """What runs on ``device``, such as ``torch cpu`` or ``torch cuda bf16``."""
    modes = {"bf16": precision == "bf16", "tf32": tf32}
    return " ".join([by, torch.device(device).type, *(mode for mode, on in modes.items() if on)])


def rounded(step: Step, device: str) -> Step:
    """``step`` with what its products and convolutions take rounded to bfloat16.

    That is autocast; the spectral layers keep their transforms out of it (`ptprof.train.models.spectral`).
    """
    kind = torch.device(device).type

    def call(*tensors: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        with torch.autocast(kind, torch.bfloat16, cache_enabled=False):
            return step(*tensors)

    return call


class EagerRunner(TorchRunner):
    """A step that is an ``nn.Module``, moved to the device and put into eval mode."""

    runtime: ClassVar[str] = "eager"

    def __init__(
        self,
        module: nn.Module,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        tf32: bool = False,
    ) -> None:
        super().__init__(device=device, threads=threads, precision=precision, tf32=tf32)
        self.signature: Signature | None = getattr(module, "signature", None)
        self.state_shape: StateShape | None = getattr(module, "state_shape", None)
        self.takes_noise = bool(getattr(module, "takes_noise", False))
        self.nfe: int | None = getattr(module, "nfe", None)
        step = self._prepared(module.eval().to(self.device))
        self._step = rounded(step, self.device) if precision == "bf16" else step

    def _prepared(self, module: nn.Module) -> Step:
        """What is called."""
        return module
