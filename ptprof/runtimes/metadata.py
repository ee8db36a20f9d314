"""What an exported file says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from ptprof.records import FilePrecision, Spectral, Statistics, Value

FORMAT = "ptprof"

STATE, NOISE = "state", "noise"
"""What a forecast step takes."""

NEXT, STATE_OUT = "next", "state_out"
"""What a forecast step gives."""

Shapes = dict[str, tuple[int, ...]]
"""Tensors by name, each with its shape behind the batch."""

_TEXT = (str, str | None, Spectral, FilePrecision)


class Signature(Value):
    """What a model takes and gives that is no forecast step: one tensor, and one tensor; the batch leads.

    ``takes`` and ``gives`` are the shapes behind the batch.
    """

    input: str
    takes: tuple[int, ...]
    output: str
    gives: tuple[int, ...]


class Metadata(Value):
    """What is written into every exported file, so that it can be used without the study it came from.

    A forecast step has ``grid``, the only one that it takes, ``history``, ``time_step`` between its states
    (in the data's unit of time) and ``statistics``, which its normalisation subtracts and divides by;
    ``signature`` is None. Any other model has a ``signature`` and none of these. ``units`` are those of
    ``fields``, in input and output. ``sampler`` and ``nfe`` are the method and the number of evaluations of a
    step that samples its forecast. ``batch`` is the only size of a batch that the file takes, None for any.

    ``spectral`` and ``precision`` say how it computes. ``parameters`` counts a complex number as two;
    ``flops`` is for a batch of one. ``target`` is what a file of native code was compiled for: it runs
    nowhere else. ``versions`` are those of the libraries that wrote the file.
    """

    format: str = FORMAT
    model: str
    run: str
    recipe: str | None = None
    signature: Signature | None = None
    grid: tuple[int, int] | None = None
    history: int | None = None
    time_step: float | None = None
    fields: tuple[str, ...]
    units: dict[str, str]
    statistics: Statistics | None = None
    checkpoint_sha256: str | None = None
    sampler: str | None = None
    nfe: int | None = None
    batch: int | None = None
    spectral: Spectral = "gemm"
    precision: FilePrecision = "fp32"
    parameters: int | None = None
    flops: int | None = None
    target: dict[str, str] | None = None
    versions: dict[str, str]

    @model_validator(mode="after")
    def _of_a_kind(self) -> Self:
        missing = [name for name in ("grid", "history", "statistics") if getattr(self, name) is None]
        if self.signature is None and missing:
            raise ValueError(f"a forecast step says its {', '.join(missing)}")
        return self

    @property
    def state_shape(self) -> tuple[int, int, int, int] | None:
        """The shape of one state, ``(h, C, X, Y)``; None where the input is none."""
        if self.history is None or self.grid is None:
            return None
        return self.history, len(self.fields), *self.grid

    @property
    def inputs(self) -> Shapes:
        """What the file takes, in order."""
        if self.signature is not None:
            return {self.signature.input: self.signature.takes}
        shape = self.state_shape or ()
        return {STATE: shape} if self.nfe is None else {STATE: shape, NOISE: shape[1:]}

    @property
    def outputs(self) -> Shapes:
        """What the file gives, in order."""
        if self.signature is not None:
            return {self.signature.output: self.signature.gives}
        shape = self.state_shape or ()
        return {NEXT: shape[1:], STATE_OUT: shape}

    def properties(self) -> dict[str, str]:
        """As ONNX holds it: text by name, JSON where the value is not text itself; nothing that is None."""
        return {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in self.model_dump(mode="json", exclude_none=True).items()
        }

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> Metadata | None:
        """Read what `properties` wrote; None where it is not ptprof's.

        Raises
        ------
        ValueError : ptprof's, but incomplete or damaged
        """
        if properties.get("format") != FORMAT:
            return None
        text = {name for name, field in cls.model_fields.items() if field.annotation in _TEXT}
        values: dict[str, Any] = {
            name: value if name in text else json.loads(value)
            for name, value in properties.items()
            if name in cls.model_fields
        }
        return cls.model_validate(values, strict=False)
