"""Ways to run a forecast step: one file per runtime, each behind the same `Runner`.

A runner takes a ready module (``eager``, ``compile``) or an exported file (the others); it never builds a
model. What a runtime needs is loaded when it is opened.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ptprof.errors import UsageError, unknown

if TYPE_CHECKING:
    from torch import nn

    from ptprof.runtimes.base import Query, Runner

__all__ = ["FORMAT_OF", "PRECISIONS", "RUNTIMES", "Query", "Runner", "open_runner"]

#: The class of each runtime, in the module of its name.
_CLASSES = {
    "eager": "EagerRunner",
    "compile": "CompiledRunner",
    "torchscript": "TorchScriptRunner",
    "onnxruntime": "OnnxRuntimeRunner",
    "openvino": "OpenVinoRunner",
    "pt2": "Pt2Runner",
}

RUNTIMES = tuple(_CLASSES)

FORMAT_OF = {"torchscript": "torchscript", "onnxruntime": "onnx", "openvino": "onnx", "pt2": "pt2"}
"""What each runtime reads; one that is not here takes a module."""

PRECISIONS = ("fp32", "bf16")


def open_runner(
    runtime: str,
    source: nn.Module | Path | str,
    *,
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "fp32",
    tf32: bool = False,
) -> Runner:
    """A runner of ``source`` on ``device``.

    Parameters
    ----------
    runtime : one of `RUNTIMES`
    source : the step itself, or the path of a file of the format in `FORMAT_OF`
    device : ``cpu`` or ``cuda:i``
    threads : CPU threads of one query; None for all the cores that the process may use. For the runtimes
        that are torch the number is torch's own and holds for the whole process.
    precision : one of `PRECISIONS`; with ``bf16`` products and convolutions round what they take to bfloat16
    tf32 : let a GPU round what they take to TF32; for the runtimes that are torch it holds for the whole
        process

    Raises
    ------
    UsageError : a runtime or a precision that is not known, a source of another kind, fewer threads than
        one, TF32 on a CPU
    RuntimeUnavailable : a runtime, a device, an execution provider or a precision that is not here
    StudyError : a file that is not there, is cut, or is not a forecast step
    """
    if runtime not in RUNTIMES:
        raise unknown("runtime", runtime, RUNTIMES)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be 1 or more, and are {threads}")
    if tf32 and (device == "cpu" or precision != "fp32"):
        raise UsageError("tf32 is a mode of fp32 on NVIDIA GPUs: take --device cuda, and no other precision")
    is_file = isinstance(source, str | Path)
    if is_file and runtime not in FORMAT_OF:
        raise UsageError(f"{runtime} runs a module, not a file: open {source} with another runtime")
    if not is_file and runtime in FORMAT_OF:
        raise UsageError(f"{runtime} runs an exported file, not a module: export it first")
    kind = getattr(import_module(f"ptprof.runtimes.{runtime}"), _CLASSES[runtime])
    runner: Runner = kind(
        Path(source) if isinstance(source, str | Path) else source,
        device=device,
        threads=threads,
        precision=precision,
        tf32=tf32,
    )
    return runner


def __getattr__(name: str) -> object:
    # The classes are public, but naming the runtimes must not load torch.
    if name not in ("Query", "Runner"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ptprof.runtimes import base

    return getattr(base, name)
