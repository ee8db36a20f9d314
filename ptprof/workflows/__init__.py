"""What spans rooms: one stage over many models, the whole way, and the doctor.

Each is loaded when it is asked for: amortising needs nothing of what trains.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptprof.workflows.amortising import amortise as amortise
    from ptprof.workflows.comparing import compare as compare
    from ptprof.workflows.diagnosing import doctor as doctor
    from ptprof.workflows.exporting import export as export
    from ptprof.workflows.measuring import profile as profile
    from ptprof.workflows.own import export_own as export_own
    from ptprof.workflows.own import write_repository as write_repository
    from ptprof.workflows.planning import plan as plan
    from ptprof.workflows.reporting import report as report
    from ptprof.workflows.starting import quickstart as quickstart
    from ptprof.workflows.training import burgers_sweep as burgers_sweep
    from ptprof.workflows.training import estimate as estimate
    from ptprof.workflows.training import evaluate as evaluate
    from ptprof.workflows.training import train as train

__all__ = [
    "amortise",
    "burgers_sweep",
    "compare",
    "doctor",
    "estimate",
    "evaluate",
    "export",
    "export_own",
    "plan",
    "profile",
    "quickstart",
    "report",
    "train",
    "write_repository",
]

_MODULES = {
    "amortise": "amortising",
    "burgers_sweep": "training",
    "compare": "comparing",
    "doctor": "diagnosing",
    "estimate": "training",
    "evaluate": "training",
    "export": "exporting",
    "export_own": "own",
    "plan": "planning",
    "profile": "measuring",
    "quickstart": "starting",
    "report": "reporting",
    "train": "training",
    "write_repository": "own",
}
"""Where each is."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
