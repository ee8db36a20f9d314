"""Training: data, models, the loop and its metrics; torch is loaded when a training is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.train.run_folder import run_name as run_name
    from ptprof.train.training import load as load
    from ptprof.train.training import train as train

__all__ = ["load", "run_name", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ptprof.train import training

    return getattr(training, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
