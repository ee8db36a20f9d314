"""What is deployed: the forecast step as TorchScript and ONNX files, proven equal to what was trained."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.export.artifact import FORMATS as FORMATS
    from ptprof.export.artifact import deployable as deployable
    from ptprof.export.artifact import open_model as open_model
    from ptprof.export.exporter import export as export
    from ptprof.export.lowering import lower as lower
    from ptprof.export.own import export_module as export_module
    from ptprof.export.step import DeployableStep as DeployableStep

__all__ = ["FORMATS", "DeployableStep", "deployable", "export", "export_module", "lower", "open_model"]

_HOMES = {"DeployableStep": "step", "export": "exporter", "export_module": "own", "lower": "lowering"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ptprof.export.{_HOMES.get(name, 'artifact')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
