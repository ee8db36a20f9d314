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


class BoardFacts(Value):
    """What a GPU is set to: limits on its power (W) and clock (Hz); None is what it does not tell.

    ``architecture`` is its generation, ``ecc`` whether its memory corrects errors, ``persistence`` whether
    the driver stays loaded while nothing uses it.
    """

    uuid: str
    name: str
    power_limit_w: float | None = None
    default_power_limit_w: float | None = None
    max_sm_clock_hz: float | None = None
    architecture: str | None = None
    ecc: bool | None = None
    persistence: bool | None = None


class Environment(Value):
    """Where a figure was obtained; ``boards`` are those that were metered."""

    platform: str
    python: str
    cpu: str
    cpu_cores: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    boards: tuple[BoardFacts, ...] = ()
    driver: str | None = None
    libraries: dict[str, str] = Field(default_factory=dict)
    container: bool = False
