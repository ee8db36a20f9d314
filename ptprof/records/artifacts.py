"""What was exported."""

from __future__ import annotations

from typing import Literal

from ptprof.records.accuracy import Statistics
from ptprof.records.base import Environment, Record, Value


class Parity(Value):
    """How far an exported file is from the trained model, relative L2 on test windows.

    ``one_step`` and ``rollout`` compare with the trained model in fp32; ``*_float64`` with the same
    model in float64, ``reference_float64`` being the trained fp32 model's own distance from it.
    ``gate`` is what ``one_step_float64`` had to stay below. The windows are ``synthetic`` where the model was
    not trained.
    """

    windows: int
    synthetic: bool = False
    rollout_steps: int
    one_step: float
    rollout: float
    one_step_float64: float
    reference_float64: float
    gate: float
    by_field: dict[str, float]
    provider: str


def variant_of(nfe: int | None) -> str:
    """The variant of an export with ``nfe`` evaluations of its network per step; the default one for None."""
    return "" if nfe is None else f"nfe{nfe}"


class ArtifactFile(Value):
    """One exported file of an artifact."""

    name: str
    format: Literal["onnx", "torchscript", "pt2"]
    precision: Literal["fp32", "bf16"] = "fp32"
    variant: str = ""
    sha256: str
    size_bytes: int
    opset: int | None = None
    parity: Parity


class ArtifactRecord(Record):
    """``artifacts/<run>/artifact.json``: what was exported from one run."""

    run: str
    model: str
    recipe: str
    grid: tuple[int, int]
    history: int
    statistics: Statistics
    checkpoint_sha256: str
    files: tuple[ArtifactFile, ...]
    environment: Environment
    created: str
