"""Which components of energy are summed: those that all the figures compared have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptprof.errors import StudyError
from ptprof.records import COMPONENTS, Component, EnergyBreakdown


@dataclass(frozen=True)
class Phase:
    """One figure that is compared: its name in words, where it ran, and its energy."""

    name: str
    device: str
    energy: EnergyBreakdown


@dataclass(frozen=True)
class Compared:
    """The components that trainings and queries are summed over, and those that had to be left out."""

    training: frozenset[Component]
    serving: frozenset[Component]
    left_out: tuple[Component, ...]

    @property
    def all(self) -> tuple[Component, ...]:
        return tuple(c for c in COMPONENTS if c in self.training | self.serving)

    def of_once(self, energy: EnergyBreakdown) -> frozenset[Component]:
        """Those of a cost that all models share: a GPU counts in it where it has one."""
        host = (self.training | self.serving) - {"gpu"}
        return frozenset(energy.present) & (host | {"gpu"})


def compared(training: Sequence[Phase], serving: Sequence[Phase]) -> Compared:
    """The components that all have.

    CPU and memory must be in both phases, or they are left out of both. A GPU counts in a phase that ran
    on one, and there every model must have it: leaving it out would leave out most of the cost.

    Raises
    ------
    StudyError : a GPU that did the work and has no figure, or nothing in common
    """
    phases = (*training, *serving)
    for phase in phases:
        if phase.device.startswith("cuda") and phase.energy.gpu is None:
            why = phase.energy.missing.get("gpu", "not measured")
            raise StudyError(
                f"{phase.name} ran on {phase.device} but has no GPU energy ({why}): nothing equal to compare"
            )
    host = frozenset(COMPONENTS) - {"gpu"}
    for phase in phases:
        host &= phase.energy.present.keys()
    of_training, of_serving = host | _gpu(training), host | _gpu(serving)
    if not of_training or not of_serving:
        raise StudyError("the figures have no component in common: train and profile on one machine")
    present = {c for phase in phases for c in phase.energy.present}
    left_out = present - of_training - of_serving
    return Compared(of_training, of_serving, tuple(c for c in COMPONENTS if c in left_out))


def _gpu(phases: Sequence[Phase]) -> frozenset[Component]:
    with_gpu = [phase.name for phase in phases if phase.energy.gpu is not None]
    without = [phase.name for phase in phases if phase.energy.gpu is None]
    if with_gpu and without:
        raise StudyError(
            f"{with_gpu[0]} includes a GPU and {without[0]} does not: only equal components are compared"
        )
    return frozenset({"gpu"}) if with_gpu else frozenset()
