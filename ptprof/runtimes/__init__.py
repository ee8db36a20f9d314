"""Ways to run a forecast step: one file per runtime, each behind the same `Runner`.

A runner takes a ready module (``eager``) or an exported file (``torchscript``, ``onnxruntime``); it never
builds a model. What a runtime needs is loaded when it is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptprof.errors import UsageError, unknown

if TYPE_CHECKING:
    from torch import nn

    from ptprof.runtimes.base import Query, Runner

__all__ = ["RUNTIMES", "Query", "Runner", "open_runner"]

RUNTIMES = ("eager", "torchscript", "onnxruntime")


def open_runner(
    runtime: str, source: nn.Module | Path | str, *, device: str = "cpu", threads: int | None = None
) -> Runner:
    """A runner of ``source`` on ``device``.

    Parameters
    ----------
    runtime : one of `RUNTIMES`
    source : the step itself for ``eager``; the path of a ``.pt`` for ``torchscript``, of an ``.onnx`` for
        ``onnxruntime``
    device : ``cpu`` or ``cuda:i``
    threads : CPU threads of one query; None for all the cores that the process may use. For ``eager`` and
        ``torchscript`` the number is torch's own and holds for the whole process.

    Raises
    ------
    UsageError : a runtime that is not known, a source of another kind, fewer threads than one
    RuntimeUnavailable : a device or an execution provider that is not here
    StudyError : a file that is not there, is cut, or is not a forecast step
    """
    if runtime not in RUNTIMES:
        raise unknown("runtime", runtime, RUNTIMES)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be 1 or more, and are {threads}")
    if runtime == "eager":
        from ptprof.runtimes.eager import EagerRunner

        if isinstance(source, str | Path):
            raise UsageError(
                f"eager runs a module, not a file: open {source} with torchscript or onnxruntime"
            )
        return EagerRunner(source, device=device, threads=threads)
    if not isinstance(source, str | Path):
        raise UsageError(f"{runtime} runs an exported file, not a module: export it first")
    if runtime == "torchscript":
        from ptprof.runtimes.torchscript import TorchScriptRunner

        return TorchScriptRunner(Path(source), device=device, threads=threads)
    from ptprof.runtimes.onnxruntime import OnnxRuntimeRunner

    return OnnxRuntimeRunner(Path(source), device=device, threads=threads)


def __getattr__(name: str) -> object:
    # The classes are public, but naming the runtimes must not load torch.
    if name not in ("Query", "Runner"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ptprof.runtimes import base

    return getattr(base, name)
