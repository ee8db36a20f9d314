"""What every record is made of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1


class Value(BaseModel):
    """Base of the immutable values that records are made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Record(Value):
    """Base of what is one file on disk; the schema version stands first."""

    schema_version: Literal[1] = SCHEMA_VERSION


class Interval(Value):
    """A figure with its 95 % interval; ``low`` and ``high`` are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


class Environment(Value):
    """Where a figure was obtained."""

    platform: str
    python: str
    cpu: str
    cpu_cores: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    driver: str | None = None
    libraries: dict[str, str] = Field(default_factory=dict)
    container: bool = False
