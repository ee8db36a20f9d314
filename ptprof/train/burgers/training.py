"""One of the three networks, trained: into a run of the study, or as a point of the sweep."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import Progress

from ptprof.energy import CPU_WATTS_PER_CORE, EnergyMeter, total
from ptprof.environment import environment
from ptprof.errors import StudyError
from ptprof.records import PinnPoint, PinnRecord, PinnStage, PinnTraining
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study, now, read_record, write_record, write_text
from ptprof.train.burgers.fitting import fit, one_thread
from ptprof.train.burgers.losses import NN, check, sample
from ptprof.train.burgers.network import Network
from ptprof.train.checkpoint import load_weights, save_weights, weights_of
from ptprof.train.recipe import BurgersRecipe, Recipe
from ptprof.train.run_folder import CHECKPOINT, EPOCHS, RUN, alone, run_name

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def train(
    study: Study,
    model: str,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    progress: Progress | None = None,
    watts_per_core: float = CPU_WATTS_PER_CORE,
) -> PinnRecord:
    """Train ``model`` by ``recipe``'s ``[burgers]``; the weights of the last step are kept.

    A finished run is returned as it is. One that was stopped left nothing and begins again: it takes a
    minute. The energy is that of the steps; drawing points, testing and writing are not part of it.

    Raises
    ------
    UsageError : an unknown model or device, a negative seed
    StudyError : a run under this name by other settings, or a process that trains it now
    TrainingError : a loss that is no longer finite
    """
    count = recipe.burgers.points
    check(model, count, seed)
    folder = study.run_folder(run_name(model, recipe.name, seed))
    if (folder / RUN).exists() and not force:
        finished = read_record(folder / RUN, PinnRecord)
        refuse_other(finished, recipe.burgers, count, folder / RUN)
        load_weights(folder / CHECKPOINT, model, finished.checkpoint_sha256)
        return finished
    with alone(folder):
        network, point = run(
            model,
            recipe,
            count,
            name=folder.name,
            seed=seed,
            device=device,
            watts_per_core=watts_per_core,
            observe=_display(progress, model, planned_steps(recipe.burgers, model)),
        )
        record = PinnRecord(
            **dict(PinnTraining.model_validate(point.model_dump(exclude={"stages"}))),
            checkpoint_sha256=save_weights(folder / CHECKPOINT, model, weights_of(network)),
        )
        write_text(folder / EPOCHS, "".join(f"{stage.model_dump_json()}\n" for stage in point.stages))
        write_record(folder / RUN, record)
    return record


def load(study: Study, run: PinnRecord) -> Network:
    """The trained network of ``run``, on the CPU: points (x, t) ``(N, 2)`` to u ``(N, 1)``.

    Raises
    ------
    StudyError : the checkpoint is missing, or is not the one that ``run`` describes
    """
    weights = load_weights(study.run_folder(run.run) / CHECKPOINT, run.model, run.checkpoint_sha256)
    network = Network(dtype=next(iter(weights.values())).dtype)
    network.load_state_dict(weights)
    return network.eval()


def run(
    model: str,
    recipe: Recipe,
    count: int,
    *,
    name: str,
    seed: int,
    device: str = "cpu",
    watts_per_core: float = CPU_WATTS_PER_CORE,
    observe: Callable[[PinnStage], None] = lambda stage: None,
) -> tuple[Network, PinnPoint]:
    """Train once on ``count`` points and write nothing: the network, and what its training came to.

    ``observe`` is told each stage when it is done.
    """
    device = resolve_device(device)
    dtype = _DTYPES[recipe.burgers.dtype]
    points = sample(model, count, seed, device, dtype)
    network = Network(seed, dtype).to(device)
    gpus = [] if device == "cpu" else [torch.device(device).index]
    stages: list[PinnStage] = []
    with one_thread(), EnergyMeter(gpus=gpus, watts_per_core=watts_per_core) as meter:
        for stage in fit(network, points, recipe.burgers, _lbfgs_steps(recipe.burgers, model), meter):
            stages.append(stage)
            observe(stage)
    last = stages[-1]
    return network, PinnPoint(
        run=name,
        model=model,
        recipe=recipe.name,
        recipe_sha256=recipe_sha256(recipe.burgers),
        seed=seed,
        points=count,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        steps=last.steps,
        evaluations=last.evaluations,
        stopped="planned" if last.steps == planned_steps(recipe.burgers, model) else "stalled",
        loss=last.loss,
        test_mse=last.test_mse,
        duration_s=sum(stage.duration_s for stage in stages),
        energy=total(stage.energy for stage in stages),
        device=device,
        environment=environment(gpus=tuple(torch.cuda.get_device_name(gpu) for gpu in gpus)),
        created=now(),
        stages=tuple(stages),
    )


def planned_steps(recipe: BurgersRecipe, model: str) -> int:
    """The steps of a training that does not stall."""
    return recipe.adam_steps + _lbfgs_steps(recipe, model)


def recipe_sha256(recipe: BurgersRecipe) -> str:
    """A hash of what ``recipe`` says about a training; on how many points is not part of it."""
    steps = recipe.model_dump_json(exclude={"points", "sizes", "more_nn_sizes"})
    return hashlib.sha256(steps.encode()).hexdigest()


def refuse_other(found: PinnTraining, recipe: BurgersRecipe, count: int, path: Path) -> None:
    """Raise StudyError if what ``path`` holds was trained by other settings or on other points."""
    if found.recipe_sha256 != recipe_sha256(recipe) or found.points != count:
        raise StudyError(
            f"{path} was trained by other settings of recipe {found.recipe!r}: keep it and use another study,"
            " or train again with --force"
        )


def _lbfgs_steps(recipe: BurgersRecipe, model: str) -> int:
    return recipe.nn_lbfgs_steps if model == NN else recipe.lbfgs_steps


def _display(progress: Progress | None, model: str, steps: int) -> Callable[[PinnStage], None]:
    """One line of progress: steps, with the losses of the last stage."""
    if progress is None:
        return lambda stage: None
    task = progress.add_task(model, total=steps)

    def show(stage: PinnStage) -> None:
        losses = f"loss {stage.loss:.1e} test {stage.test_mse:.1e}"
        progress.update(task, completed=stage.steps, description=f"{model} {stage.optimizer} {losses}")

    return show
