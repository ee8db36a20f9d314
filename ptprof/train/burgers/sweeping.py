"""The sweep of the paper's Fig. 1b: every model, on every size of data set, by every seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.progress import Progress

from ptprof.energy import CPU_WATTS_PER_CORE
from ptprof.errors import StudyError, UsageError
from ptprof.records import PinnPoint, PinnStage
from ptprof.study import Study, read_record, write_record
from ptprof.train.burgers.losses import NN, check
from ptprof.train.burgers.training import planned_steps, refuse_other, run
from ptprof.train.recipe import PINNS, Recipe


def sweep(
    study: Study,
    recipe: Recipe,
    *,
    sizes: Sequence[int] | None = None,
    seeds: int = 3,
    device: str = "cpu",
    force: bool = False,
    progress: Progress | None = None,
    watts_per_core: float = CPU_WATTS_PER_CORE,
) -> list[PinnPoint]:
    """Train what is not trained yet, one after the other, each into a file of its own in the study.

    Stopped, the sweep goes on with the training that was cut short.

    Parameters
    ----------
    sizes : numbers of points, for every model; the recipe's otherwise, which may have more for the NN
    seeds : how many, from 0 on

    Raises
    ------
    UsageError : no size, or one that the grid does not have; fewer than one seed; an unknown device
    StudyError : a point by other settings, or points that were not metered alike
    TrainingError : a loss that is no longer finite
    """
    settings = recipe.burgers
    counts = sorted({*(settings.sizes if sizes is None else sizes)})
    of_nn = sorted({*counts, *(settings.more_nn_sizes if sizes is None else ())})
    if not counts:
        raise UsageError("name at least one size: a number of points, such as 1000")
    if seeds < 1:
        raise UsageError(f"at least one seed is needed, and not {seeds}")
    for count in of_nn:
        check(NN, count, 0)
    wanted = [
        (seed, model, count)
        for seed in range(seeds)
        for model in PINNS
        for count in (of_nn if model == NN else counts)
    ]
    paths = [_path(study, recipe, *training) for training in wanted]
    points = {path: read_record(path, PinnPoint) for path in paths if path.exists() and not force}
    for (_, _, count), path in zip(wanted, paths, strict=True):
        if path in points:
            refuse_other(points[path], settings, count, path)
    steps = [planned_steps(settings, model) for _, model, _ in wanted]
    display = _Display(progress, sum(steps))
    for (seed, model, count), path, planned in zip(wanted, paths, steps, strict=True):
        if path not in points:
            display.begin(f"{model} {count:,} points seed {seed}")
            _, points[path] = run(
                model,
                recipe,
                count,
                name=path.stem,
                seed=seed,
                device=device,
                watts_per_core=watts_per_core,
                observe=display.show,
            )
            write_record(path, points[path])
        _refuse_unlike(points.values())
        display.end(planned)
    return [points[path] for path in paths]


def _path(study: Study, recipe: Recipe, seed: int, model: str, count: int) -> Path:
    return study.root / "burgers" / f"{model}-{recipe.name}-n{count}-s{seed}.json"


def _refuse_unlike(points: Iterable[PinnPoint]) -> None:
    """Raise StudyError unless the energies may be compared: one machine, one device, one set of sensors."""
    meters = {
        (
            point.device,
            point.environment.cpu,
            point.environment.gpus,
            *((component, figure.gain_id) for component, figure in point.energy.present.items()),
        )
        for point in points
    }
    if len(meters) > 1:
        raise StudyError(
            "the points of this sweep come from several machines, devices or sensors, whose energies cannot"
            " be compared: use another study, or begin again with --force"
        )


class _Display:
    """One line of progress for the whole sweep, counting steps."""

    def __init__(self, progress: Progress | None, steps: int) -> None:
        self.progress, self.done, self.name = progress, 0, "sweep"
        self.task = None if progress is None else progress.add_task("sweep", total=steps)

    def begin(self, name: str) -> None:
        self.name = name
        self._update(self.done)

    def show(self, stage: PinnStage) -> None:
        self._update(self.done + stage.steps)

    def end(self, planned: int) -> None:
        self.done += planned
        self._update(self.done)

    def _update(self, completed: int) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=completed, description=self.name)
