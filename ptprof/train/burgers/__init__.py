"""The PINNs of the paper's appendix A on Burgers' equation; torch is loaded when one is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.train.burgers.sweeping import sweep as sweep
    from ptprof.train.burgers.tradeoffs import TradeOff as TradeOff
    from ptprof.train.burgers.tradeoffs import tradeoff as tradeoff
    from ptprof.train.burgers.training import load as load
    from ptprof.train.burgers.training import train as train

_HOMES = {
    "TradeOff": "tradeoffs",
    "load": "training",
    "sweep": "sweeping",
    "tradeoff": "tradeoffs",
    "train": "training",
}

__all__ = ["TradeOff", "load", "sweep", "tradeoff", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
