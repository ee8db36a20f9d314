"""Every record that ptprof writes to disk.

Units end the names: joules ``_j``, seconds ``_s``, watts ``_w``, bytes ``_bytes``. A value that was
not obtained is ``None`` with its reason beside it, never a zero; NaN and infinity are refused.
"""

from __future__ import annotations

from ptprof.records.accuracy import Accuracy, Physics, Scores, Statistics
from ptprof.records.artifacts import ArtifactFile, ArtifactRecord, Parity, variant_of
from ptprof.records.base import SCHEMA_VERSION, Environment, Interval, Record, Value
from ptprof.records.joules import COMPONENTS, Component, Energy, EnergyBreakdown, Source
from ptprof.records.measurements import Measurement, Window
from ptprof.records.pinns import PinnPoint, PinnRecord, PinnStage, PinnTraining
from ptprof.records.runs import PLAIN, Block, Epoch, EstimateRecord, Execution, ModelRecord, RunRecord
from ptprof.records.served import ServedModelTotal, ServedRecord

__all__ = [
    "COMPONENTS",
    "PLAIN",
    "SCHEMA_VERSION",
    "Accuracy",
    "ArtifactFile",
    "ArtifactRecord",
    "Block",
    "Component",
    "Energy",
    "EnergyBreakdown",
    "Environment",
    "Epoch",
    "EstimateRecord",
    "Execution",
    "Interval",
    "Measurement",
    "ModelRecord",
    "Parity",
    "Physics",
    "PinnPoint",
    "PinnRecord",
    "PinnStage",
    "PinnTraining",
    "Record",
    "RunRecord",
    "Scores",
    "ServedModelTotal",
    "ServedRecord",
    "Source",
    "Statistics",
    "Value",
    "Window",
    "variant_of",
]
