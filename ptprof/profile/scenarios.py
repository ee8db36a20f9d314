"""What is asked of a model: one step, or a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ptprof.errors import UsageError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from ptprof.runtimes import Query, Runner

ScenarioName = Literal["one-step", "rollout"]
SCENARIOS: tuple[ScenarioName, ...] = get_args(ScenarioName)


@dataclass(frozen=True)
class Scenario:
    """A query of ``steps`` steps, asked for ``batch`` initial states at once."""

    name: ScenarioName
    batch: int
    steps: int

    def bind(self, runner: Runner, state: Tensor) -> Query:
        """The call to be timed, on ``state`` ``(B, h, C, X, Y)``."""
        return runner.bind(state, None if self.name == "one-step" else self.steps)


def scenario(name: str, *, batch: int, steps: int) -> Scenario:
    """The scenario called ``name``; a ``one-step`` query has one step whatever ``steps`` says.

    Raises
    ------
    UsageError : a name that is not known, or fewer than one state or step
    """
    if batch < 1:
        raise UsageError(f"a batch holds 1 state or more, not {batch}")
    if steps < 1:
        raise UsageError(f"a rollout has 1 step or more, not {steps}")
    for known in SCENARIOS:
        if known == name:
            return Scenario(known, batch, steps if known == "rollout" else 1)
    raise unknown("scenario", name, SCENARIOS)
