"""What a training would cost, before it is paid: some steps are done and metered, the rest is projected."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from rich.progress import Progress

from ptprof.energy import CPU_WATTS_PER_CORE, CpuModel, EnergyMeter, MonotonicClock
from ptprof.environment import environment
from ptprof.errors import DataError, StudyError, UsageError
from ptprof.records import PLAIN, EstimateRecord, Execution
from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study, now, read_record, write_record
from ptprof.train import models
from ptprof.train.checkpoint import Settings, load_weights, save_weights, weights_of
from ptprof.train.data import Windows, data_sha256
from ptprof.train.data.loader import AUTO, Reading
from ptprof.train.data.synthetic import SHA256, SyntheticWindows
from ptprof.train.execution import check, launch, numerics
from ptprof.train.failures import explained
from ptprof.train.processes import processes
from ptprof.train.projection import Blocks, EpochSize
from ptprof.train.recipe import Recipe
from ptprof.train.run_folder import CHECKPOINT, alone, run_name
from ptprof.train.sampling import GOAL, sample
from ptprof.train.schedule import SECONDS_PER_HOUR
from ptprof.train.steps import Steps
from ptprof.train.training import all_cores, assemble, recipe_sha256

ESTIMATE = "estimate.json"

LIMIT_S = 60.0
"""How long a model is sampled (s) where its cost is not known before."""


def estimate_name(model: str, recipe: str, seed: int) -> str:
    """The name of an estimate, and of its folder among the runs of the study."""
    return f"{run_name(model, recipe, seed)}-estimate"


def estimate(
    study: Study,
    model: str,
    recipe: Recipe,
    *,
    epochs: int | None = None,
    limit_s: float = LIMIT_S,
    seed: int = 0,
    device: str = "cpu",
    execution: Execution = PLAIN,
    reading: Reading = AUTO,
    data: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    watts_per_core: float = CPU_WATTS_PER_CORE,
) -> EstimateRecord:
    """Project what training ``model`` by ``recipe`` for ``epochs`` epochs would take, from some of its steps.

    Steps are done until the cost of one is known to 2 %, or ``limit_s`` is over. What was sampled already
    under the same settings, and as well as is asked for, is not sampled again: only the epochs are
    projected anew.

    Parameters
    ----------
    epochs : those to project; all that the recipe has unless given, which early stopping may not need
    limit_s : how long to sample, s, on top of the first step; one block of each kind is done in any case
    reading : as for a training; it is no part of what makes a sample the same
    data : a folder in The Well's layout; None for the study's own where it is on the recipe's grid, and
        otherwise for synthetic windows, as many as the recipe has
    force : sample again

    Raises
    ------
    UsageError : an unknown model or device, a negative seed, no epochs, no time, several processes
    DataError : data that does not suit the recipe
    StudyError : another process makes this estimate now, or it cannot be written
    TrainingError : a loss that is no longer finite, or too little memory
    """
    recipe = recipe.with_model(model)
    epochs = recipe.max_epochs if epochs is None else epochs
    _check(seed, epochs, limit_s)
    device = resolve_device(device)
    batch = execution.batch or recipe.batch
    execution = execution.model_copy(update={"batch": batch, "processes": processes()})
    check(execution, recipe.model_copy(update={"batch": batch}), device)
    keep_memory()
    source = _data_folder(study, recipe, data)
    settings = Settings(
        model=model,
        recipe=recipe.name,
        recipe_sha256=recipe_sha256(recipe, model),
        seed=seed,
        data_sha256=SHA256 if source is None else data_sha256(source, recipe.selection),
        device=torch.device(device).type,
        execution=execution,
        plugin_sha256=(code := models.source(model)) and code.sha256,
    )
    recipe = recipe.model_copy(update={"batch": batch})
    folder = study.run_folder(estimate_name(model, recipe.name, seed))
    with alone(folder), explained(model, recipe, device, execution.accumulate), all_cores():
        known = None if force else _known(folder, settings, device, watts_per_core, limit_s)
        if known is None:
            known = _sampled(
                folder, source, recipe, settings, device, reading, limit_s, progress, watts_per_core
            )
        record = _projected(known, recipe, epochs)
        write_record(folder / ESTIMATE, record)
    return record


def _check(seed: int, epochs: int, limit_s: float) -> None:
    if seed < 0:
        raise UsageError(f"seed must not be negative, and is {seed}")
    if epochs < 1:
        raise UsageError(f"a training has 1 epoch or more, not {epochs}")
    if not 0 < limit_s < math.inf:
        raise UsageError(f"the time to sample must be above zero seconds, not {limit_s:g}")
    if processes() > 1:
        raise UsageError("an estimate is made by one process: run it without torchrun")


def _data_folder(study: Study, recipe: Recipe, data: Path | None) -> Path | None:
    """Where real data is, that the training would take; None where windows are to be synthetic."""
    if data is not None:
        return data
    with suppress(DataError):
        windows = Windows(study.data, "train", recipe.history, settings=recipe.selection, preload=False)
        return study.data if windows.grid == recipe.grid else None
    return None


def _known(
    folder: Path, settings: Settings, device: str, watts_per_core: float, limit_s: float
) -> EstimateRecord | None:
    """The estimate that ``folder`` holds whole, if it is as good as one made now under ``settings``."""
    try:
        record = read_record(folder / ESTIMATE, EstimateRecord)
        load_weights(folder / CHECKPOINT, record.model, record.checkpoint_sha256)
    except StudyError:
        return None
    made = Settings.of(record, torch.device(record.device).type)
    cpu = record.energy.cpu
    if cpu is not None and cpu.projected_from == "modelled" and cpu.sensor != CpuModel(watts_per_core).name:
        return None
    if made != settings or record.device != device:
        return None
    if not record.converged and record.sampled_s < limit_s:
        return None
    return record


def _sampled(
    folder: Path,
    source: Path | None,
    recipe: Recipe,
    settings: Settings,
    device: str,
    reading: Reading,
    limit_s: float,
    progress: Progress | None,
    watts_per_core: float,
) -> EstimateRecord:
    """Do some steps of the training, and leave its weights; the record projects one epoch."""
    fabric = launch(device, settings.execution)
    train, valid = (_windows(source, recipe, split, reading, fabric.device) for split in ("train", "valid"))
    loop = assemble(train, valid, recipe, settings, fabric, reading.threads)
    display = _Display(progress, settings.model)
    gpus = [] if fabric.device.type == "cpu" else [fabric.device.index]
    with (
        EnergyMeter(gpus=gpus, watts_per_core=watts_per_core) as meter,
        numerics(settings.execution.precision),
    ):
        steps = Steps(loop, train, valid)
        found = sample(steps, steps.size, meter, MonotonicClock(), limit_s=limit_s, observe=display.block)
    display.end()
    blocks = found.blocks
    return EstimateRecord(
        run=folder.name,
        model=settings.model,
        recipe=recipe.name,
        recipe_sha256=settings.recipe_sha256,
        seed=settings.seed,
        parameters=models.parameter_count(loop.module),
        grid=train.grid,
        history=recipe.history,
        statistics=train.statistics,
        data_sha256=settings.data_sha256,
        checkpoint_sha256=save_weights(folder / CHECKPOINT, settings.model, weights_of(loop.module)),
        epochs=1,
        steps=loop.steps_per_epoch,
        duration_s=blocks.duration(1).value,
        energy=blocks.energy(1),
        device=str(fabric.device),
        execution=settings.execution,
        plugin=models.source(settings.model),
        environment=environment(gpus=() if not gpus else (torch.cuda.get_device_name(fabric.device),)),
        created=now(),
        duration_interval_s=blocks.duration(1),
        train_steps=blocks.size.train_steps,
        valid_steps=blocks.size.valid_steps,
        warm_up_steps=found.warm_up_steps,
        train_blocks=blocks.train,
        valid_blocks=blocks.valid,
        sampled_s=found.duration_s,
        goal=GOAL,
        half_width=blocks.half_width(),
        unmet=found.unmet,
        synthetic_data=source is None,
    )


def _projected(record: EstimateRecord, recipe: Recipe, epochs: int) -> EstimateRecord:
    """``record`` with its blocks projected to ``epochs`` epochs."""
    size = EpochSize(record.train_steps, record.valid_steps)
    blocks = Blocks(size, record.train_blocks, record.valid_blocks)
    duration = blocks.duration(epochs)
    return record.model_copy(
        update={
            "epochs": epochs,
            "steps": epochs * (record.steps // record.epochs),
            "duration_s": duration.value,
            "duration_interval_s": duration,
            "energy": blocks.energy(epochs),
            "flags": tuple(_notes(record, recipe, epochs, duration.value / epochs / SECONDS_PER_HOUR)),
        }
    )


def _notes(record: EstimateRecord, recipe: Recipe, epochs: int, hours: float) -> Iterator[str]:
    """What must be known of the projection, ``hours`` being those of one epoch."""
    if record.unmet is not None:
        yield record.unmet
    if epochs == recipe.max_epochs:
        yield f"all {epochs} epochs of the recipe, which early stopping may not need"
    elif epochs > recipe.max_epochs:
        yield f"the recipe ends after {recipe.max_epochs} epochs"
    if epochs * hours > recipe.max_hours:
        whole = max(1, int(recipe.max_hours / hours))
        yield f"the recipe ends after {recipe.max_hours:g} h, with epoch {whole}"
    if record.synthetic_data:
        yield "synthetic windows on the recipe's grid: reading data is not part of it"


def _windows(
    source: Path | None, recipe: Recipe, split: str, reading: Reading, device: torch.device
) -> Windows:
    if source is None:
        return SyntheticWindows(recipe, split, device=device)
    return Windows(
        source,
        split,
        recipe.history,
        settings=recipe.selection,
        preload=reading.preload,
        device=device,
    )


class _Display:
    """How far the sampling is, in blocks, and how well the cost is known."""

    def __init__(self, progress: Progress | None, model: str) -> None:
        self._progress, self._model = progress, model
        self._task = None if progress is None else progress.add_task(f"estimate {model}", total=None)

    def block(self, what: str, half_width: float | None) -> None:
        if self._progress is not None and self._task is not None:
            known = "" if half_width is None else f" ± {half_width:.1%}"
            self._progress.update(self._task, advance=1, description=f"estimate {self._model}: {what}{known}")

    def end(self) -> None:
        if self._progress is not None and self._task is not None:
            done = self._progress.tasks[self._progress.task_ids.index(self._task)].completed
            self._progress.update(self._task, total=done)
