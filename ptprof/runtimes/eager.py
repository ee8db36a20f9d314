"""A module as it is, by torch."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.cuda_graph import CALLS_BEFORE, captured, wanted
from ptprof.runtimes.function import FunctionRunner, Step, StepQuery
from ptprof.runtimes.metadata import Signature
from ptprof.runtimes.noise import Noise


class TorchQuery(StepQuery):
    """A query on torch; on a GPU one that is asked again and again becomes a CUDA graph, a rollout whole."""

    def __init__(
        self, step: Step, state: Tensor, steps: int | None, noise: Noise, signature: Signature | None = None
    ) -> None:
        super().__init__(step, state, steps, noise, signature)
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


class TorchRunner(FunctionRunner):
    """What the runtimes that are torch share: queries by calling a module.

    Parameters
    ----------
    threads : torch's CPU threads, for the whole process; None leaves them as they are
    tf32 : let products and convolutions of fp32 on a GPU round what they take to TF32, in the whole process
    """

    _query: ClassVar[type[StepQuery]] = TorchQuery

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
        self.describe_module(module)
        step = self._prepared(module.eval().to(self.device))
        self._step = rounded(step, self.device) if precision == "bf16" else step

    def _prepared(self, module: nn.Module) -> Step:
        """What is called."""
        return module
