"""What simulating a data set cost: metered while it is made, kept in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ptprof.energy import EnergyMeter
from ptprof.environment import environment
from ptprof.records import GenerationRecord
from ptprof.study import GENERATION, now, write_record
from ptprof.train.recipe import Recipe


def metered(
    folder: Path,
    simulate: Callable[[], None],
    recipe: Recipe,
    *,
    trajectories: int,
    device: str,
    watts_per_core: float,
) -> None:
    """Do ``simulate`` and write into ``folder`` what it took; of a GPU the whole board counts."""
    gpus = [] if device == "cpu" else [torch.device(device).index or 0]
    with EnergyMeter(gpus, watts_per_core=watts_per_core) as meter, meter.window() as window:
        simulate()
    data = recipe.data
    record = GenerationRecord(
        trajectories=trajectories,
        states=data.steps,
        dt=data.dt,
        simulated_s=trajectories * (data.steps - 1) * data.dt,
        grid=recipe.grid,
        device=device,
        duration_s=window.duration_s,
        energy=window.breakdown(),
        environment=environment(),
        created=now(),
    )
    write_record(folder / GENERATION, record)
