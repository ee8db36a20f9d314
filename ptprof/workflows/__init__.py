"""What spans rooms: one stage over many models, the whole way, and the doctor."""

from __future__ import annotations

from ptprof.workflows.amortising import amortise
from ptprof.workflows.diagnosing import doctor
from ptprof.workflows.exporting import export
from ptprof.workflows.measuring import profile
from ptprof.workflows.quickstart import quickstart
from ptprof.workflows.training import burgers_sweep, estimate, evaluate, train

__all__ = [
    "amortise",
    "burgers_sweep",
    "doctor",
    "estimate",
    "evaluate",
    "export",
    "profile",
    "quickstart",
    "train",
]
