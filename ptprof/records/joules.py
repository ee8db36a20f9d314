"""Energy, and how far it can be trusted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ptprof.records.base import Value

JOULES_PER_KWH = 3.6e6

Source = Literal["measured", "modelled", "assumed", "projected", "given"]


Component = Literal["gpu", "cpu", "dram"]


COMPONENTS: tuple[Component, ...] = ("gpu", "cpu", "dram")


class Energy(Value):
    """Joules of one component, and how far they can be trusted.

    ``low`` and ``high`` (J) hold random and systematic error together, at 95 %. ``systematic`` is the
    relative half-width of the gain error that every figure of the same ``gain_id`` shares (board
    UUID, RAPL socket, ``cpu-model``). ``active_joules`` is ``joules`` less the idle share, None where
    idle was not measured. ``source`` says how the figure was obtained, ``sensor`` by what; ``projected_from``
    is the source of what a projected figure was made from.
    """

    joules: float = Field(ge=0)
    low: float
    high: float
    systematic: float = Field(ge=0)
    gain_id: str
    active_joules: float | None = None
    source: Source
    sensor: str
    projected_from: Source | None = None
    flags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.joules <= self.high:
            raise ValueError(f"low {self.low} <= joules {self.joules} <= high {self.high} must hold")
        return self


class EnergyBreakdown(Value):
    """Energy by component; a component that is None has its reason in ``missing``."""

    gpu: Energy | None = None
    cpu: Energy | None = None
    dram: Energy | None = None
    missing: dict[str, str] = Field(default_factory=dict)

    @property
    def present(self) -> dict[Component, Energy]:
        """The components that there are."""
        return {c: e for c in COMPONENTS if (e := getattr(self, c)) is not None}

    @property
    def joules(self) -> float | None:
        """The sum of the components present; None where there is none."""
        present = self.present
        return sum(e.joules for e in present.values()) if present else None
