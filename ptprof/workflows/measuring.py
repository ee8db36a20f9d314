"""Measurement: one stage over many models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.progress import Progress

from ptprof import choices
from ptprof import profile as profiling
from ptprof.profile.scenarios import SCENARIOS
from ptprof.records import Measurement
from ptprof.runtimes import runtimes as known_runtimes
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.workflows.clusters import ExecutorName
from ptprof.workflows.clusters import executor as on_executor
from ptprof.workflows.power import watts


def profile(
    study: Study,
    models: Sequence[str] | None,
    *,
    run: str | None,
    runtimes: Sequence[str],
    scenarios: Sequence[str],
    device: str,
    batches: Sequence[int],
    steps: int,
    nfe: int | None,
    watts_per_core: float | None,
    force: bool,
    progress: Progress,
    recipe: str | None = None,
    rate: float | None = None,
    duration: float | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    tf32: bool = False,
    protocol: str = "quick",
    max_time: float | None = None,
    meter_gpus: Sequence[str] | None = None,
    executor: ExecutorName = "local",
    address: str | None = None,
) -> list[Measurement]:
    """Measure the newest run of each model (or ``run``) on each runtime and scenario.

    With ``nfe`` and nothing named, the model that samples is meant. Where all runtimes are asked for, those
    that are not here and what is not exported are said and left out.
    """
    runs = choices.with_weights(study, models, run, recipe, nfe)
    with on_executor(executor, study, address=address, device=device) as cluster:
        return profiling.profile(
            study,
            runs,
            runtimes=choices.chosen("runtime", runtimes, known_runtimes()),
            scenarios=["load"]
            if list(scenarios) == ["load"]
            else choices.chosen("scenario", scenarios, SCENARIOS),
            device=device if cluster is not None else resolve_device(device),
            batches=batches,
            steps=steps,
            rate=rate,
            duration=duration,
            nfe=nfe,
            precision=precision,
            tf32=tf32,
            protocol=protocol,
            max_time=max_time,
            meter_gpus=meter_gpus,
            watts_per_core=watts(watts_per_core),
            force=force,
            lenient=list(runtimes) == ["all"],
            progress=progress,
            cluster=cluster,
        )
