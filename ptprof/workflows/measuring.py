"""Measurement: one stage over many models."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import Progress

from ptprof import choices
from ptprof import profile as profiling
from ptprof.profile.scenarios import SCENARIOS
from ptprof.records import Measurement
from ptprof.runtimes import RUNTIMES
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.workflows.power import watts


def profile(
    study: Study,
    models: Sequence[str] | None,
    *,
    run: str | None,
    runtimes: Sequence[str],
    scenarios: Sequence[str],
    device: str,
    batch: int,
    steps: int,
    nfe: int | None,
    watts_per_core: float | None,
    force: bool,
    progress: Progress,
    recipe: str | None = None,
) -> list[Measurement]:
    """Measure the newest run of each model (or ``run``) on each runtime and scenario.

    With ``nfe`` and nothing named, the model that samples is meant.
    """
    return profiling.profile(
        study,
        choices.with_weights(study, models, run, recipe, nfe),
        runtimes=choices.chosen("runtime", runtimes, RUNTIMES),
        scenarios=choices.chosen("scenario", scenarios, SCENARIOS),
        device=resolve_device(device),
        batch=batch,
        steps=steps,
        nfe=nfe,
        watts_per_core=watts(watts_per_core),
        force=force,
        progress=progress,
    )
