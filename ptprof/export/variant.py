"""Which of a model's exports is meant, and which a runtime reads."""

from __future__ import annotations

from dataclasses import dataclass

from ptprof.errors import RuntimeUnavailable
from ptprof.records import FilePrecision, Spectral, variant_of
from ptprof.runtimes import format_of

#: Formats of which a file computes in bf16 because it was exported so; OpenVINO is told when it opens one.
ROUNDED = frozenset({"torchscript", "pt2"})


@dataclass(frozen=True)
class Variant:
    """How a model is exported; see `ptprof.records.variant_of`."""

    nfe: int | None = None
    spectral: Spectral = "gemm"
    precision: FilePrecision = "fp32"
    batch: int | None = None

    @property
    def name(self) -> str:
        """What the names of its files end with, ``bf16-b4``; nothing for the default."""
        return variant_of(nfe=self.nfe, spectral=self.spectral, precision=self.precision, batch=self.batch)

    def command(self, model: str, format: str) -> str:
        """What exports it."""
        words = ["ptprof export", model, "--format", format]
        if self.nfe is not None:
            words += ["--nfe", str(self.nfe)]
        if self.spectral != "gemm":
            words += ["--spectral", self.spectral]
        if self.precision != "fp32":
            words += ["--precision", self.precision]
        if self.batch is not None:
            words += ["--batch", str(self.batch)]
        return " ".join(words)


def read_by(
    runtime: str,
    *,
    nfe: int | None = None,
    spectral: Spectral = "gemm",
    precision: str = "fp32",
    batch: int | None = None,
) -> Variant:
    """What ``runtime`` reads to compute so; of one that takes a module, the part that the module decides.

    Raises
    ------
    UsageError : a runtime or a precision that is not known
    RuntimeUnavailable : bf16 by ONNX Runtime
    """
    format = format_of(runtime)
    if precision == "bf16" and runtime == "onnxruntime":
        raise RuntimeUnavailable(
            "ONNX Runtime does not run these models in bf16: take openvino, pt2 or torchscript"
        )
    rounded: FilePrecision = "bf16" if precision == "bf16" and format in ROUNDED else "fp32"
    return Variant(nfe, spectral, rounded, batch if format else None)


def file_variant(
    runtime: str,
    *,
    nfe: int | None = None,
    spectral: Spectral = "gemm",
    precision: str = "fp32",
    batch: int | None = None,
) -> str:
    """The name of what `read_by` gives."""
    return read_by(runtime, nfe=nfe, spectral=spectral, precision=precision, batch=batch).name
