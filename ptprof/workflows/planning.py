"""A fleet on paper, from a study."""

from __future__ import annotations

from collections.abc import Sequence

from ptprof import choices
from ptprof.amortise import fleet
from ptprof.amortise.assumptions import USUAL, Assumptions
from ptprof.amortise.fleet_answer import Demand, FleetReport
from ptprof.amortise.selection import ONE_STEP, Query
from ptprof.study import Study


def plan(
    study: Study,
    demand: Demand,
    *,
    models: Sequence[str] | None = None,
    query: Query = ONE_STEP,
    any_batch: bool = True,
    assumptions: Assumptions = USUAL,
) -> FleetReport:
    """Project the fleet of each model, on each runtime and at each batch size that was measured.

    Raises
    ------
    UsageError : a latency that nothing can meet, or an unknown model
    StudyError : nothing measured, or nothing that may be compared
    """
    names = choices.named(study, models)
    return fleet.from_study(study, demand, query, models=names, any_batch=any_batch, assumptions=assumptions)
