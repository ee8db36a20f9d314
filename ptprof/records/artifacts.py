"""What was exported."""

from __future__ import annotations

from typing import Literal

from ptprof.records.accuracy import Statistics
from ptprof.records.base import Environment, Record, Value

Spectral = Literal["gemm", "fft"]
FilePrecision = Literal["fp32", "bf16"]


class FieldErrors(Value):
    """`Parity` of one field; None where nothing is rolled out."""

    one_step: float
    rollout: float | None
    one_step_float64: float
    rollout_float64: float | None


class Parity(Value):
    """How far what a runtime computes is from the trained model, relative L2 on test windows.

    ``one_step`` and ``rollout`` compare with the trained model in fp32; ``*_float64`` with the same model in
    float64, ``reference_*float64`` being the trained fp32 model's own distance from it. ``gate`` is what
    ``one_step_float64`` had to stay below. All are of the worst field; ``by_field`` has each. Of a model
    whose input is not a state (a PINN) ``windows`` counts points, and there is no rollout.

    ``device`` and ``provider`` are where the file really ran, ``providers`` all that the session had. Only
    on a GPU is there a ``device_difference``: how far the trained model itself, with neuraloperator's own
    spectral layers, is there from what it is on the CPU, after one step; no error of the export. The windows
    are ``synthetic`` where the model was not trained.
    """

    windows: int
    synthetic: bool = False
    rollout_steps: int
    one_step: float
    rollout: float | None
    one_step_float64: float
    rollout_float64: float | None = None
    reference_float64: float
    reference_rollout_float64: float | None = None
    gate: float
    by_field: dict[str, FieldErrors]
    device: str = "cpu"
    provider: str
    providers: tuple[str, ...] = ()
    device_difference: float | None = None


def variant_of(
    *,
    nfe: int | None = None,
    spectral: Spectral = "gemm",
    precision: FilePrecision = "fp32",
    batch: int | None = None,
) -> str:
    """The variant of an export, such as ``bf16-b4``; the default one has no name.

    Parameters
    ----------
    nfe : evaluations of the network of a model that samples, where they are not the recipe's
    spectral : ``fft`` where the spectral layers are neuraloperator's own
    precision : of the products outside of the transforms
    batch : the only number of states in a batch that the file takes
    """
    parts = (
        "fft" if spectral == "fft" else "",
        "" if precision == "fp32" else precision,
        "" if batch is None else f"b{batch}",
        "" if nfe is None else f"nfe{nfe}",
    )
    return "-".join(part for part in parts if part)


class ArtifactFile(Value):
    """One exported file of an artifact."""

    name: str
    format: Literal["onnx", "torchscript", "pt2"]
    precision: FilePrecision = "fp32"
    variant: str = ""
    sha256: str
    size_bytes: int
    opset: int | None = None
    parity: Parity


class ArtifactRecord(Record):
    """``artifacts/<run>/artifact.json``: what was exported from one run.

    ``grid``, ``history`` and ``statistics`` are None of a model whose input is not a state.
    """

    run: str
    model: str
    recipe: str
    grid: tuple[int, int] | None = None
    history: int | None = None
    statistics: Statistics | None = None
    checkpoint_sha256: str
    files: tuple[ArtifactFile, ...]
    environment: Environment
    created: str
