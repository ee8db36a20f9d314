"""Ways to run a forecast step: one file per runtime, each behind the same `Runner`.

A runner takes a ready module (``eager``, ``compile``) or an exported file (the others); it never builds a
model. What a runtime needs is loaded when it is opened. Plugins add runtimes of one's own, derived from
`StepRunner` or `Runner`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptprof import plugins
from ptprof.errors import RuntimeUnavailable, UsageError, unknown
from ptprof.plugins.importing import FAULTS, in_words

if TYPE_CHECKING:
    from torch import nn

    from ptprof.records import PluginSource
    from ptprof.runtimes.base import Query, Runner
    from ptprof.runtimes.own import StepRunner

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "Query",
    "Runner",
    "StepRunner",
    "format_of",
    "open_runner",
    "plugin_of",
    "runner_class",
    "runtimes",
]

#: The class of each of ptprof's own runtimes, in the module of its name, and what it reads; None: a module.
_OWN = {
    "eager": ("EagerRunner", None),
    "compile": ("CompiledRunner", None),
    "torchscript": ("TorchScriptRunner", "torchscript"),
    "onnxruntime": ("OnnxRuntimeRunner", "onnx"),
    "openvino": ("OpenVinoRunner", "onnx"),
    "pt2": ("Pt2Runner", "pt2"),
}

RUNTIMES = tuple(_OWN)
"""ptprof's own."""

PRECISIONS = ("fp32", "bf16")


def runtimes() -> tuple[str, ...]:
    """The names of all runtimes, ptprof's own and those of plugins; UsageError where a plugin fails."""
    return (*RUNTIMES, *plugins.runtimes(RUNTIMES))


def format_of(runtime: str) -> str | None:
    """The format of the files that ``runtime`` reads; None for one that takes a module.

    Raises
    ------
    UsageError : a runtime that is not known
    """
    return _OWN[runtime][1] if runtime in _OWN else _plugin(runtime).reads


def runner_class(runtime: str) -> type[Runner]:
    """The class of ``runtime``, with what it needs loaded.

    Raises
    ------
    UsageError : a runtime that is not known
    RuntimeUnavailable : what it needs is not here, or a plugin's is no `Runner`
    """
    if runtime in _OWN:
        own: type[Runner] = getattr(import_module(f"ptprof.runtimes.{runtime}"), _OWN[runtime][0])
        return own
    from ptprof.runtimes.base import Runner

    found = _plugin(runtime)
    kind: Any = found.make
    if not (isinstance(kind, type) and issubclass(kind, Runner)):
        raise RuntimeUnavailable(
            f"the runtime {runtime} of {found.source.name} is no class of ptprof.runtimes.Runner"
        )
    return kind


def plugin_of(runtime: str) -> PluginSource | None:
    """The plugin that ``runtime`` comes from; None for ptprof's own. UsageError where it is not known."""
    return None if runtime in _OWN else _plugin(runtime).source


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
    runtime : one of `runtimes`
    source : the step itself, or the path of a file of the format in `format_of`
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
    RuntimeUnavailable : a runtime, a device, an execution provider or a precision that is not here, or a
        plugin's runtime that fails
    StudyError : a file that is not there, is cut, or is not a forecast step
    """
    format = format_of(runtime)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be 1 or more, and are {threads}")
    if tf32 and (device == "cpu" or precision != "fp32"):
        raise UsageError("tf32 is a mode of fp32 on NVIDIA GPUs: take --device cuda, and no other precision")
    is_file = isinstance(source, str | Path)
    if is_file and format is None:
        raise UsageError(f"{runtime} runs a module, not a file: open {source} with another runtime")
    if not is_file and format is not None:
        raise UsageError(f"{runtime} runs an exported file, not a module: export it first")
    kind: Any = runner_class(runtime)
    given = Path(source) if isinstance(source, str | Path) else source
    settings = {"device": device, "threads": threads, "precision": precision, "tf32": tf32}
    opened: Runner = kind(given, **settings) if runtime in _OWN else _opened(runtime, kind, given, settings)
    return opened


def _opened(runtime: str, kind: Any, source: object, settings: dict[str, Any]) -> Any:
    """A plugin's runner; what goes wrong in its code is one line."""
    try:
        return kind(source, **settings)
    except FAULTS as error:
        plugin = _plugin(runtime).source.name
        raise RuntimeUnavailable(
            f"the runtime {runtime} of {plugin} cannot be opened: {in_words(error)}"
        ) from error


def _plugin(runtime: str) -> plugins.RuntimePlugin:
    found = plugins.runtimes(RUNTIMES)
    if runtime not in found:
        raise unknown("runtime", runtime, (*RUNTIMES, *found))
    return found[runtime]


def __getattr__(name: str) -> object:
    # The classes are public, but naming the runtimes must not load torch.
    if name in ("Query", "Runner"):
        from ptprof.runtimes import base

        return getattr(base, name)
    if name == "StepRunner":
        from ptprof.runtimes.own import StepRunner

        return StepRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
