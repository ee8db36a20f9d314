"""Which scientific-ML forecaster is cheapest over its whole life: train, export, measure, amortise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.client import Client as Client

__version__ = "0.1.0"

__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    # It needs numpy and httpx, which `ptprof --help` must not wait for.
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ptprof.client import Client

    return Client
