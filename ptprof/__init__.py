"""Which scientific-ML forecaster is cheapest over its whole life: train, export, measure, amortise."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.client import Client as Client
    from ptprof.frame import load as load
    from ptprof.plugins import model as model
    from ptprof.plugins import runtime as runtime
    from ptprof.plugins import sensor as sensor

__version__ = "0.1.0"

__all__ = ["Client", "__version__", "export_module", "load", "lower", "model", "runtime", "sensor"]

# What is not named above stands over rooms that import the version from here.
_HOMES = {
    "Client": "ptprof.client",
    "export_module": "ptprof.export.own",
    "load": "ptprof.frame",
    "lower": "ptprof.export.lowering",
    "model": "ptprof.plugins",
    "runtime": "ptprof.plugins",
    "sensor": "ptprof.plugins",
}


def __getattr__(name: str) -> Any:
    # They need torch, numpy, httpx and the like, which `ptprof --help` must not wait for.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
