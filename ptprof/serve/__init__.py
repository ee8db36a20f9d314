"""A study's models behind the Open Inference Protocol v2 over HTTP; torch is loaded when models are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.serve.app import create_app as create_app
    from ptprof.serve.limits import Limits as Limits
    from ptprof.serve.loading import load_models as load_models
    from ptprof.serve.model import ServedModel as ServedModel
    from ptprof.serve.server import serve as serve

_HOMES = {
    "Limits": "limits",
    "ServedModel": "model",
    "create_app": "app",
    "load_models": "loading",
    "serve": "server",
}
__all__ = ["Limits", "ServedModel", "create_app", "load_models", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ptprof.serve.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
