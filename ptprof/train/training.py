"""One model, trained: from data in the study to a run in the study."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TaskID
from torch import nn

from ptprof.energy import CPU_WATTS_PER_CORE, EnergyMeter, total
from ptprof.environment import cores, environment
from ptprof.errors import DataError, StudyError, UsageError, unknown
from ptprof.records import Epoch, RunRecord
from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study, now, read_record, write_record, write_text
from ptprof.train import models
from ptprof.train.checkpoint import Settings, State, load_state, load_weights, save_state, save_weights
from ptprof.train.data import Windows, data_sha256, generate, trajectories
from ptprof.train.evaluate import accuracy, persistence
from ptprof.train.loop import Loop, seed_everything
from ptprof.train.recipe import Recipe
from ptprof.train.schedule import best

CHECKPOINT, EPOCHS, RESUME, RUN = "checkpoint.pt", "epochs.jsonl", "resume.pt", "run.json"

WORKERS = 4
"""Processes that read windows where the data does not fit in memory."""


def run_name(model: str, recipe: str, seed: int) -> str:
    """The name of a run, and of its folder in the study."""
    return f"{model}-{recipe}-s{seed}"


def train(
    study: Study,
    model: str,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    data: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    watts_per_core: float = CPU_WATTS_PER_CORE,
) -> RunRecord:
    """Train ``model`` by ``recipe`` and keep the weights with the lowest validation loss.

    A training that was stopped goes on from its last full epoch, and ends on a CPU with the weights it
    would have had; a finished one is returned as it is. Its energy is that of its epochs, validation and
    earlier sittings included; data, the test and an epoch that was cut short are not part of it.

    Parameters
    ----------
    data : a folder in The Well's layout; None for the study's own, which recipe ``quick`` generates
        where it is missing
    force : train again what is finished, begin again what was stopped
    watts_per_core : for the model of the CPU's power, where it cannot be measured

    Raises
    ------
    UsageError : an unknown model or device, a negative seed
    DataError : data that is missing, or that does not suit the recipe
    StudyError : a run or an unfinished training under this name with other settings or other data
    TrainingError : a loss that is no longer finite
    """
    if model not in recipe.models:
        raise unknown("model", model, recipe.models)
    if seed < 0:
        raise UsageError(f"seed must not be negative, and is {seed}")
    keep_memory()
    device = resolve_device(device)
    source = _data_folder(study, recipe, data, device, progress)
    settings = Settings(
        model=model,
        recipe=recipe.name,
        recipe_sha256=recipe_sha256(recipe, model),
        seed=seed,
        data_sha256=data_sha256(source),
        device=torch.device(device).type,
    )
    folder = study.run_folder(run_name(model, recipe.name, seed))
    if force:
        (folder / RESUME).unlink(missing_ok=True)
    elif (folder / RUN).exists() and not (folder / RESUME).exists():
        return _finished(folder, settings)
    with _all_cores():
        return _train(folder, source, recipe, settings, device, progress, watts_per_core)


def load(study: Study, run: RunRecord, spectral: str = "gemm") -> nn.Module:
    """The trained model of ``run``, in eval mode on the CPU.

    Parameters
    ----------
    spectral : ``gemm`` or ``fft``, how spectral layers compute; the weights are the same

    Raises
    ------
    StudyError : the checkpoint is missing, is not the one that ``run`` describes, or is of another model
    """
    weights = load_weights(study.run_folder(run.run) / CHECKPOINT, run.model, run.checkpoint_sha256)
    module = models.build(run.model, run.recipe, spectral)
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
    return hashlib.sha256(relevant.model_dump_json(exclude={"data"}).encode()).hexdigest()


def _train(
    folder: Path,
    source: Path,
    recipe: Recipe,
    settings: Settings,
    device: str,
    progress: Progress | None,
    watts_per_core: float,
) -> RunRecord:
    """Train, go on, or only finish what was trained to the end; leaves a finished run in ``folder``."""
    windows = {split: Windows(source, split, recipe.history) for split in ("train", "valid", "test")}
    seed_everything(settings.seed, epoch=0)
    module = models.build(settings.model, recipe)
    display = _Display(progress, settings.model)
    loop = Loop(
        module,
        windows["train"],
        windows["valid"],
        recipe=recipe,
        settings=settings,
        peak=recipe.models[settings.model].learning_rate,
        device=device,
        workers=0 if windows["train"].preloaded else min(WORKERS, cores()),
        observe=display.step,
    )
    if (folder / RESUME).exists():
        loop.restore(load_state(folder / RESUME, settings))
    display.begin(loop)

    def save(state: State) -> None:
        save_state(folder / RESUME, state)
        write_text(folder / EPOCHS, "".join(f"{epoch.model_dump_json()}\n" for epoch in state.epochs))
        display.epoch(state.epochs[-1])

    gpus = [] if device == "cpu" else [torch.device(device).index]
    with EnergyMeter(gpus=gpus, watts_per_core=watts_per_core) as meter:
        loop.fit(meter, save)
    display.end()
    module.load_state_dict(loop.best)
    score = partial(
        accuracy,
        windows=windows["test"],
        trajectories=trajectories(source, "test", steps=recipe.history + recipe.rollout_steps),
        rollout_steps=recipe.rollout_steps,
        batch=recipe.batch,
        device=device,
    )
    chosen = best(loop.epochs)
    record = RunRecord(
        run=folder.name,
        model=settings.model,
        recipe=recipe.name,
        recipe_sha256=settings.recipe_sha256,
        seed=settings.seed,
        parameters=models.parameter_count(module),
        grid=windows["train"].grid,
        history=recipe.history,
        statistics=windows["train"].statistics,
        data_sha256=settings.data_sha256,
        checkpoint_sha256=save_weights(folder / CHECKPOINT, settings.model, loop.best),
        epochs=len(loop.epochs),
        steps=sum(e.steps for e in loop.epochs),
        duration_s=sum(e.duration_s for e in loop.epochs),
        best_epoch=chosen.epoch,
        best_valid_loss=chosen.valid_loss,
        energy=total(e.energy for e in loop.epochs),
        accuracy=score(module.eval()),
        persistence=score(persistence(len(windows["test"].fields))),
        device=device,
        environment=environment(gpus=_gpu_names(device)),
        created=now(),
    )
    write_record(folder / RUN, record)
    (folder / RESUME).unlink()
    return record


def _data_folder(
    study: Study, recipe: Recipe, data: Path | None, device: str, progress: Progress | None
) -> Path:
    """Where the data is; generated first where it is the study's own, missing, and for recipe ``quick``."""
    if data is not None:
        return data
    if study.data.is_dir() and any(study.data.iterdir()):
        return study.data
    if recipe.name != "quick":
        raise DataError(
            f"{study.data} holds no data for recipe {recipe.name!r}: put The Well's shear_flow there, name"
            f" its folder with --data, or simulate it with `ptprof data generate --recipe {recipe.name}`"
        )
    generate(study.data, recipe, device=device, progress=progress)
    return study.data


def _finished(folder: Path, settings: Settings) -> RunRecord:
    """The run that ``folder`` holds, if it is what training with ``settings`` would make."""
    record = read_record(folder / RUN, RunRecord)
    made = Settings(
        model=record.model,
        recipe=record.recipe,
        recipe_sha256=record.recipe_sha256,
        seed=record.seed,
        data_sha256=record.data_sha256,
        device=settings.device,
    )
    if differences := made.differences(settings):
        raise StudyError(
            f"{folder} holds a run that differs in {' and '.join(differences)}: keep it and use another"
            " study, or train again with --force"
        )
    load_weights(folder / CHECKPOINT, record.model, record.checkpoint_sha256)
    return record


def _gpu_names(device: str) -> tuple[str, ...]:
    return () if device == "cpu" else (torch.cuda.get_device_name(device),)


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let torch use every core there is, unless ``OMP_NUM_THREADS`` says how many; then as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Display:
    """One line of progress: a step at a time, with the losses of the last epoch."""

    def __init__(self, progress: Progress | None, model: str) -> None:
        self.progress, self.model = progress, model
        self.task: TaskID | None = None
        self.losses = ""

    def begin(self, loop: Loop) -> None:
        if self.progress is not None:
            steps = loop.steps_per_epoch
            self.task = self.progress.add_task(self.model, total=loop.recipe.max_epochs * steps)
            self._update(completed=len(loop.epochs) * steps)

    def step(self, epoch: int, step: int, loss: float) -> None:
        losses = self.losses or f"train {loss:.3g}"
        self._update(completed=step, description=f"{self.model} epoch {epoch} {losses}")

    def epoch(self, epoch: Epoch) -> None:
        self.losses = f"train {epoch.train_loss:.3g} valid {epoch.valid_loss:.3g}"
        self._update(description=f"{self.model} epoch {epoch.epoch} {self.losses}")

    def end(self) -> None:
        """A training that stopped early is complete all the same."""
        if self.progress is not None and self.task is not None:
            self._update(total=self.progress.tasks[self.progress.task_ids.index(self.task)].completed)

    def _update(self, **changes: Any) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, **changes)
