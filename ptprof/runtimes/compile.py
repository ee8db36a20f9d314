"""A module compiled by ``torch.compile`` when it is first asked, as a part of its cold start."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ptprof.errors import RuntimeUnavailable
from ptprof.runtimes.device import resolve_device
from ptprof.runtimes.eager import EagerRunner, provider
from ptprof.runtimes.function import Step

CACHE = "TORCHINDUCTOR_CACHE_DIR"
BY = "torch inductor"
MOST_COMPILED = 64
"""Modules and sizes of a batch in one process."""


class CompiledRunner(EagerRunner):
    """A step that is an ``nn.Module``, compiled by TorchInductor for each size of a batch that it meets."""

    runtime: ClassVar[str] = "compile"

    def __init__(
        self,
        module: nn.Module,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        tf32: bool = False,
    ) -> None:
        check_compiler(resolve_device(device))
        super().__init__(module, device=device, threads=threads, precision=precision, tf32=tf32)
        self.provider = provider(self.device, precision, tf32, by=BY)

    def _prepared(self, module: nn.Module) -> Step:
        # It takes seconds to be imported.
        from torch._dynamo.exc import FailOnRecompileLimitHit

        own_cache()
        compiled: Callable[..., Any] = torch.compile(module, dynamic=False)
        # Its own limit is eight for all modules of a class; past it they would run as they are, unsaid.
        settings = {"recompile_limit": MOST_COMPILED, "fail_on_recompile_limit_hit": True}
        patched = torch._dynamo.config.patch(settings)

        def call(*tensors: Tensor) -> tuple[Tensor, Tensor] | Tensor:
            with warnings.catch_warnings(), patched:
                # What inductor leaves as it is, and what its own imports are told to change: not for users.
                warnings.simplefilter("ignore")
                try:
                    given: tuple[Tensor, Tensor] | Tensor = compiled(*tensors)
                except FailOnRecompileLimitHit as error:
                    raise RuntimeUnavailable(
                        f"torch.compile has compiled {MOST_COMPILED} steps in this process and takes no more"
                    ) from error
            return given

        return call


def check_compiler(device: str) -> None:
    """Look for what torch.compile generates code with.

    Raises
    ------
    RuntimeUnavailable : no C++ compiler, or no Triton for a GPU
    """
    if device != "cpu" and importlib.util.find_spec("triton") is None:
        raise RuntimeUnavailable("torch.compile needs Triton on a GPU: pip install triton")
    wanted = os.environ.get("CXX", "g++")
    if shutil.which(wanted) is None and shutil.which("clang++") is None:
        raise RuntimeUnavailable(
            f"torch.compile needs a C++ compiler, and {wanted} is not here: install g++, or set CXX"
        )


def own_cache() -> None:
    """Keep generated code in a folder that goes with the process, unless the user has named one.

    Inductor's own choice is a folder for good, which fills up, and lets a later process find what an earlier
    one compiled: what a cold start takes would depend on what was run before.
    """
    if CACHE not in os.environ:
        folder = tempfile.mkdtemp(prefix="ptprof-inductor-")
        os.environ[CACHE] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
