"""What is asked of a model: one step, a rollout, a first answer from nothing, or steps at random times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ptprof.errors import UsageError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from ptprof.runtimes import Query, Runner

ScenarioName = Literal["one-step", "rollout", "cold-start", "load"]
#: Those that need no rate.
SCENARIOS: tuple[ScenarioName, ...] = ("one-step", "rollout", "cold-start")


@dataclass(frozen=True)
class Scenario:
    """A query of ``steps`` steps, asked for ``batch`` initial states at once.

    Under a load, queries arrive at random, ``rate_per_s`` of them for ``duration_s`` (s).
    """

    name: ScenarioName
    batch: int
    steps: int
    rate_per_s: float | None = None
    duration_s: float | None = None

    @property
    def length(self) -> int | None:
        """The steps of a rollout; None of a step alone."""
        return self.steps if self.name == "rollout" else None

    def bind(self, runner: Runner, state: Tensor) -> Query:
        """The call to be timed, on ``state`` ``(B, h, C, X, Y)``, or on whatever else the runner takes."""
        return runner.bind(state, self.length)


def scenario(
    name: str,
    *,
    batch: int,
    steps: int,
    rate_per_s: float | None = None,
    duration_s: float | None = None,
) -> Scenario:
    """The scenario called ``name``; all but a ``rollout`` have one step whatever ``steps`` says.

    Raises
    ------
    UsageError : a name that is not known, fewer than one state or step, or a load without a rate
    """
    if batch < 1:
        raise UsageError(f"a batch holds 1 state or more, not {batch}")
    if steps < 1:
        raise UsageError(f"a rollout has 1 step or more, not {steps}")
    for known in get_args(ScenarioName):
        if known == name == "load":
            if rate_per_s is None or duration_s is None or not (rate_per_s > 0 and duration_s > 0):
                raise UsageError("a load needs a rate and a duration above 0: give --rate QUERIES_PER_SECOND")
            return Scenario("load", batch, 1, rate_per_s, duration_s)
        if known == name:
            return Scenario(known, batch, steps if known == "rollout" else 1)
    raise unknown("scenario", name, get_args(ScenarioName))
