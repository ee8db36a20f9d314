"""Every record that ptprof writes to disk.

Units end the names: joules ``_j``, seconds ``_s``, watts ``_w``, bytes ``_bytes``. A value that was
not obtained is ``None`` with its reason beside it, never a zero; NaN and infinity are refused.
"""

from __future__ import annotations

from ptprof.records.accuracy import Accuracy, Physics, Scores, Statistics
from ptprof.records.artifacts import (
    ArtifactFile,
    ArtifactRecord,
    FieldErrors,
    FilePrecision,
    Parity,
    Spectral,
    variant_of,
)
from ptprof.records.aspects import ColdStart, Load, Paper, Percentile, Queue, Work
from ptprof.records.base import SCHEMA_VERSION, BoardFacts, Environment, Interval, Record, Value
from ptprof.records.generation import GenerationRecord
from ptprof.records.joules import COMPONENTS, JOULES_PER_KWH, Component, Energy, EnergyBreakdown, Source
from ptprof.records.measurements import BoardWindow, Idle, Measurement, Window
from ptprof.records.own import ModuleArtifact
from ptprof.records.pinns import PinnPoint, PinnRecord, PinnStage, PinnTraining
from ptprof.records.power import PowerSamples
from ptprof.records.runs import (
    PLAIN,
    Block,
    Epoch,
    EstimateRecord,
    Execution,
    ModelRecord,
    PluginSource,
    RunRecord,
    TrainingHost,
)
from ptprof.records.served import ServedModelTotal, ServedRecord

Model = ModelRecord | PinnRecord
"""What has weights: a forecaster, trained or estimated, or a PINN."""

__all__ = [
    "COMPONENTS",
    "JOULES_PER_KWH",
    "PLAIN",
    "SCHEMA_VERSION",
    "Accuracy",
    "ArtifactFile",
    "ArtifactRecord",
    "Block",
    "BoardFacts",
    "BoardWindow",
    "ColdStart",
    "Component",
    "Energy",
    "EnergyBreakdown",
    "Environment",
    "Epoch",
    "EstimateRecord",
    "Execution",
    "FieldErrors",
    "FilePrecision",
    "GenerationRecord",
    "Idle",
    "Interval",
    "Load",
    "Measurement",
    "Model",
    "ModelRecord",
    "ModuleArtifact",
    "Paper",
    "Parity",
    "Percentile",
    "Physics",
    "PinnPoint",
    "PinnRecord",
    "PinnStage",
    "PinnTraining",
    "PluginSource",
    "PowerSamples",
    "Queue",
    "Record",
    "RunRecord",
    "Scores",
    "ServedModelTotal",
    "ServedRecord",
    "Source",
    "Spectral",
    "Statistics",
    "TrainingHost",
    "Value",
    "Window",
    "Work",
    "variant_of",
]
