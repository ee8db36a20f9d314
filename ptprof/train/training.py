"""One model, trained: from data in the study to a run in the study."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import nn

from ptprof.energy import CPU_WATTS_PER_CORE, total
from ptprof.environment import environment, threads
from ptprof.errors import DataError, StudyError, UsageError
from ptprof.records import PLAIN, Execution, ModelRecord, RunRecord, TrainingHost
from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study, now, write_record, write_text
from ptprof.train import models
from ptprof.train.checkpoint import Settings, State, load_state, load_weights, save_state, save_weights
from ptprof.train.data import Windows, data_sha256, generate
from ptprof.train.data.loader import AUTO, Reading
from ptprof.train.display import Display
from ptprof.train.evaluate import accuracy, persistence
from ptprof.train.execution import check, launch, numerics, quiet
from ptprof.train.failures import explained
from ptprof.train.forecaster import forecaster
from ptprof.train.journal import Journal, wasted
from ptprof.train.loop import Loop, Observer, seed_everything
from ptprof.train.models.increment import calibrate
from ptprof.train.models.own import check_source
from ptprof.train.place import HERE, Place, Present, gpu_name, hosts_of
from ptprof.train.processes import from_first, gathered, leads, processes, rank
from ptprof.train.recipe import Recipe
from ptprof.train.run_folder import (
    CHECKPOINT,
    EPOCHS,
    JOURNALS,
    RESUME,
    RUN,
    alone,
    everyone_sees,
    everyone_trains,
    finished,
    forget,
    run_name,
)
from ptprof.train.schedule import best


def train(
    study: Study,
    model: str,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    execution: Execution = PLAIN,
    reading: Reading = AUTO,
    data: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    watts_per_core: float = CPU_WATTS_PER_CORE,
    place: Place = HERE,
) -> RunRecord:
    """Train ``model`` by ``recipe`` and keep the weights with the lowest validation loss.

    A training that was stopped goes on from its last full epoch, and ends on a CPU with the weights it
    would have had; a finished one is returned as it is. Its energy is that of its epochs, validation and
    earlier sittings included, with what the epochs took that were cut short; data, the test and the writing
    of files are not part of it. Started by torchrun, several processes train one model together.

    Parameters
    ----------
    execution : precision and what else computes faster; how many processes there are it is told here
    reading : where windows are held, and how many threads read them; the weights do not depend on it
    data : a folder in The Well's layout; None for the study's own, which recipe ``quick`` generates
        where it is missing
    force : train again what is finished, begin again what was stopped
    watts_per_core : for the model of the CPU's power, where it cannot be measured
    place : the machine of this process

    Raises
    ------
    UsageError : an unknown model or device, a negative seed, a way to compute that cannot be, processes that
        were not all told the same
    DataError : data that is missing, or that does not suit the recipe
    StudyError : a run or an unfinished training under this name with other settings or other data, or one
        that another process trains now; a study that not all machines see
    TrainingError : a loss that is no longer finite, or too little memory
    """
    recipe = recipe.with_model(model)
    if seed < 0:
        raise UsageError(f"seed must not be negative, and is {seed}")
    device = resolve_device(device)
    batch = execution.batch or recipe.batch
    trained = recipe.model_copy(update={"batch": batch})
    execution = execution.model_copy(update={"batch": batch, "processes": processes()})
    check(execution, trained, device)
    keep_memory()
    progress = progress if leads() else None
    with explained(model, trained, device, execution.accumulate):
        fabric = launch(device, execution)
        source = _data_folder(study, recipe, data, device, progress)
        settings = Settings(
            model=model,
            recipe=recipe.name,
            recipe_sha256=recipe_sha256(recipe, model),
            seed=seed,
            data_sha256=data_sha256(source, recipe.selection),
            device=fabric.device.type,
            execution=execution,
            plugin_sha256=(code := models.source(model)) and code.sha256,
        )
        folder = study.run_folder(run_name(model, recipe.name, seed))
        with ExitStack() as stack:
            if leads():
                stack.enter_context(alone(folder))
                if force:
                    forget(folder)
            everyone_sees(folder)
            everyone_trains(settings)
            if not force and from_first(lambda: (folder / RUN).exists() and not (folder / RESUME).exists()):
                return from_first(lambda: finished(folder, settings))
            stack.enter_context(all_cores())
            return _train(folder, source, trained, settings, fabric, reading, progress, watts_per_core, place)


def prepare(
    source: Path,
    recipe: Recipe,
    settings: Settings,
    fabric: Fabric,
    reading: Reading,
    observe: Observer = lambda *_: None,
) -> Loop:
    """A training of ``settings`` on the data in ``source``, before its first epoch.

    Raises
    ------
    DataError : data that is missing, or that does not suit the recipe
    """
    train, valid = (
        Windows(
            source,
            split,
            recipe.history,
            settings=recipe.selection,
            preload=reading.preload,
            device=fabric.device,
        )
        for split in ("train", "valid")
    )
    return assemble(train, valid, recipe, settings, fabric, reading.threads, observe)


def assemble(
    train: Windows,
    valid: Windows,
    recipe: Recipe,
    settings: Settings,
    fabric: Fabric,
    workers: int,
    observe: Observer = lambda *_: None,
) -> Loop:
    """A training of ``settings`` on windows that are there, before its first epoch."""
    seed_everything(settings.seed, epoch=0)
    module = models.build(settings.model, recipe, grid=train.grid)
    models.check(settings.model, module, recipe, train.grid)
    calibrate(module, train.statistics)
    return Loop(
        module,
        train,
        valid,
        recipe=recipe,
        settings=settings,
        peak=recipe.models[settings.model].learning_rate,
        fabric=fabric,
        workers=workers,
        observe=observe,
    )


def load(study: Study, run: ModelRecord, spectral: str = "gemm") -> nn.Module:
    """The trained model of ``run``, in eval mode on the CPU.

    Parameters
    ----------
    spectral : ``gemm`` or ``fft``, how spectral layers compute; the weights are the same

    Raises
    ------
    StudyError : the checkpoint is missing, is not the one that ``run`` describes, or is of another model; the
        plugin that made ``run`` is not here, or has changed
    """
    check_source(run)
    weights = load_weights(study.run_folder(run.run) / CHECKPOINT, run.model, run.checkpoint_sha256)
    module = models.build(run.model, run.recipe, spectral, run.grid)
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        raise StudyError(
            f"the checkpoint of {run.run} does not fit {run.model} as recipe {run.recipe!r} now has it:"
            f" train {run.model} again with --force"
        ) from None
    return module.eval()


def recipe_sha256(recipe: Recipe, model: str) -> str:
    """A hash of what ``recipe`` says about training ``model``; how data is generated is not part of it."""
    relevant = recipe.model_copy(update={"models": {model: recipe.models[model]}})
    return hashlib.sha256(relevant.model_dump_json(exclude={"data", "burgers"}).encode()).hexdigest()


def _train(
    folder: Path,
    source: Path,
    recipe: Recipe,
    settings: Settings,
    fabric: Fabric,
    reading: Reading,
    progress: Progress | None,
    watts_per_core: float,
    place: Place,
) -> RunRecord:
    """Train, go on, or only finish what was trained to the end; leaves a finished run in ``folder``."""
    display = Display(progress, settings.model)
    loop = prepare(source, recipe, settings, fabric, reading, display.step)
    state = from_first(lambda: load_state(folder / RESUME, settings) if (folder / RESUME).exists() else None)
    if state is not None:
        loop.restore(state)
    journal = Journal(
        folder / JOURNALS.replace("*", str(rank())),
        settings,
        len(loop.epochs),
        sitting=from_first(lambda: uuid4().hex[:8]),
        host=place.host,
    )
    display.begin(loop.steps_done, recipe.max_epochs * loop.steps_per_epoch)

    def save(state: State) -> None:
        if leads():
            save_state(folder / RESUME, state)
            write_text(folder / EPOCHS, "".join(f"{epoch.model_dump_json()}\n" for epoch in state.epochs))
        # Not before the state is there, or what a process took of the epoch could be forgotten.
        gathered(None)
        journal.complete()
        display.epoch(state.epochs[-1])

    with (
        place.meter(fabric.device, watts_per_core) as meter,
        numerics(settings.execution.precision),
        quiet(),
    ):
        boards = meter.boards
        loop.fit(meter, save, journal.watch, place.host)
    display.end()
    lost = wasted(entry for entries in gathered(journal.lost) for entry in entries)
    hosts = hosts_of(gathered(Present(place.host, boards, environment(gpus=gpu_name(fabric.device)))))

    def finish() -> RunRecord:
        loop.module.load_state_dict(loop.best)
        record = _record(folder, source, loop, hosts)
        if lost is not None:
            lost_s, lost_energy = lost
            record = record.model_copy(
                update={
                    "lost_s": lost_s,
                    "lost_energy": lost_energy,
                    "duration_s": record.duration_s + lost_s,
                    "energy": total([record.energy, lost_energy]),
                }
            )
        write_record(folder / RUN, record)
        forget(folder)
        return record

    return from_first(finish)


def _record(folder: Path, source: Path, loop: Loop, hosts: Sequence[TrainingHost]) -> RunRecord:
    """The run that ``loop`` has trained, scored on the test split in full precision; saves its weights."""
    settings, recipe, device = loop.settings, loop.recipe, str(loop.fabric.device)
    windows = Windows(source, "test", recipe.history, settings=recipe.selection)
    score = partial(
        accuracy, windows=windows, rollout_steps=recipe.rollout_steps, batch=recipe.batch, device=device
    )
    chosen = best(loop.epochs)
    with numerics():
        return RunRecord(
            run=folder.name,
            model=settings.model,
            recipe=recipe.name,
            recipe_sha256=settings.recipe_sha256,
            seed=settings.seed,
            parameters=models.parameter_count(loop.module),
            grid=windows.grid,
            history=recipe.history,
            statistics=windows.statistics,
            data_sha256=settings.data_sha256,
            checkpoint_sha256=save_weights(folder / CHECKPOINT, settings.model, loop.best),
            epochs=len(loop.epochs),
            steps=sum(e.steps for e in loop.epochs),
            duration_s=sum(e.duration_s for e in loop.epochs),
            best_epoch=chosen.epoch,
            best_valid_loss=chosen.valid_loss,
            energy=total(e.energy for e in loop.epochs),
            execution=settings.execution,
            plugin=models.source(settings.model),
            accuracy=score(forecaster(loop.module.eval())),
            persistence=score(persistence(len(windows.fields))),
            device=device,
            environment=hosts[0].environment,
            hosts=tuple(hosts) if loop.fabric.world_size > 1 else (),
            created=now(),
        )


def _data_folder(
    study: Study, recipe: Recipe, data: Path | None, device: str, progress: Progress | None
) -> Path:
    """Where the data is; generated first where it is the study's own, missing, and for recipe ``quick``."""
    if data is not None:
        return data
    # Only the first looks: others, on another machine, might remember for a while that there was nothing.
    if from_first(lambda: study.data.is_dir() and any(study.data.iterdir())):
        return study.data
    if recipe.name != "quick":
        raise DataError(
            f"{study.data} holds no data for recipe {recipe.name!r}: put The Well's shear_flow there, name"
            f" its folder with --data, or simulate it with `ptprof data generate --recipe {recipe.name}`"
        )
    if leads():
        generate(study.data, recipe, device=device, progress=progress)
    gathered(None)
    return study.data


@contextmanager
def all_cores() -> Iterator[None]:
    """Let torch use every core there is, unless ``OMP_NUM_THREADS`` says how many; then as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)
