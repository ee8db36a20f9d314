"""A study's models behind the Open Inference Protocol v2 over HTTP; torch is loaded when models are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.serve.app import create_app as create_app
    from ptprof.serve.batching import Batching as Batching
    from ptprof.serve.batching import batch_sizes as batch_sizes
    from ptprof.serve.deploying import read_settings as read_settings
    from ptprof.serve.deploying import serve_on_ray as serve_on_ray
    from ptprof.serve.ledger import open_ledger as open_ledger
    from ptprof.serve.limits import Limits as Limits
    from ptprof.serve.loading import find_models as find_models
    from ptprof.serve.model import ServedModel as ServedModel
    from ptprof.serve.price import Price as Price
    from ptprof.serve.server import serve as serve
    from ptprof.serve.study import Service as Service
    from ptprof.serve.study import serve_study as serve_study

_HOMES = {
    "Batching": "batching",
    "Limits": "limits",
    "Price": "price",
    "ServedModel": "model",
    "Service": "study",
    "batch_sizes": "batching",
    "create_app": "app",
    "find_models": "loading",
    "open_ledger": "ledger",
    "read_settings": "deploying",
    "serve": "server",
    "serve_on_ray": "deploying",
    "serve_study": "study",
}
__all__ = [
    "Batching",
    "Limits",
    "Price",
    "ServedModel",
    "Service",
    "batch_sizes",
    "create_app",
    "find_models",
    "open_ledger",
    "read_settings",
    "serve",
    "serve_on_ray",
    "serve_study",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ptprof.serve.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
