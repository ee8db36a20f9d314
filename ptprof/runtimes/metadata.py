"""What an exported file says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ptprof.records import Statistics, Value

FORMAT = "ptprof"


class Metadata(Value):
    """What is written into every exported file, so that it can be used without the study it came from.

    ``grid`` is the only one that the step takes; ``units`` are those of its input and output, by field;
    ``statistics`` are what its normalisation subtracts and divides by. ``sampler`` and ``nfe`` are the method
    and the number of evaluations of a step that samples its forecast, None for the others. ``versions`` are
    those of the libraries that wrote the file.
    """

    format: str = FORMAT
    model: str
    run: str
    recipe: str
    grid: tuple[int, int]
    history: int
    fields: tuple[str, ...]
    units: dict[str, str]
    statistics: Statistics
    checkpoint_sha256: str
    sampler: str | None = None
    nfe: int | None = None
    versions: dict[str, str]

    @property
    def state_shape(self) -> tuple[int, int, int, int]:
        """The shape of one state, ``(h, C, X, Y)``."""
        return self.history, len(self.fields), *self.grid

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
        text = {name for name, field in cls.model_fields.items() if field.annotation in (str, str | None)}
        values: dict[str, Any] = {
            name: value if name in text else json.loads(value)
            for name, value in properties.items()
            if name in cls.model_fields
        }
        return cls.model_validate(values, strict=False)
