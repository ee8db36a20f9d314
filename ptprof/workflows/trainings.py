"""Training several models: one after the other here, or each on a device of a cluster."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from ptprof import train as training
from ptprof.cluster import Device, Executor
from ptprof.errors import PtprofError, TrainingError
from ptprof.progress import WIDTH_WITHOUT_TERMINAL
from ptprof.records import PLAIN, Execution, PinnRecord, RunRecord
from ptprof.study import Study
from ptprof.train import burgers
from ptprof.train.data import generate
from ptprof.train.data.loader import AUTO, Reading
from ptprof.train.recipe import PINNS, Recipe

Run = RunRecord | PinnRecord


@dataclass(frozen=True)
class Training:
    """How models are trained: as `ptprof.train.train` has it."""

    study: Path
    recipe: Recipe
    seed: int
    watts_per_core: float
    execution: Execution = PLAIN
    reading: Reading = AUTO
    data: Path | None = None
    force: bool = False

    def one(self, name: str, device: str, progress: Progress | None) -> Run:
        """Train a model; one that is trained already is left as it is."""
        study = Study(self.study)
        if name in PINNS:
            return burgers.train(
                study,
                name,
                self.recipe,
                seed=self.seed,
                device=device,
                force=self.force,
                progress=progress,
                watts_per_core=self.watts_per_core,
            )
        return training.train(
            study,
            name,
            self.recipe,
            seed=self.seed,
            device=device,
            execution=self.execution,
            reading=self.reading,
            data=self.data,
            force=self.force,
            progress=progress,
            watts_per_core=self.watts_per_core,
        )

    def several(self, names: Sequence[str], device: str, progress: Progress) -> list[Run]:
        """Train models one after the other."""
        return [self.one(name, device, progress) for name in names]

    def spread(self, names: Sequence[str], cluster: Executor, progress: Progress) -> list[Run]:
        """Train models on the devices of a cluster, each on one, the longest first as far as that is known.

        What a model cannot do does not keep the others from being trained; it is raised when they have been.
        A training that is lost with its device goes on from its last full epoch on another one.

        Raises
        ------
        PtprofError : as the only model that failed did
        TrainingError : several models that failed, and why; or one that no device is left for
        """
        study = Study(self.study)
        wants_data = self.data is None and not {*names} <= {*PINNS}
        if wants_data and self.recipe.name == "quick" and not _holds_data(study):
            # Once, before several nodes would do it at the same time.
            generate(study.data, self.recipe, device="cpu", progress=progress)
        task = progress.add_task(f"train on {len(cluster.devices)} devices", total=len(names))
        runs: dict[str, Run] = {}
        failures: dict[str, PtprofError] = {}

        def hear(device: Device, event: tuple[str, Any, Any]) -> None:
            verb, name, what = event
            if verb == "said":
                progress.console.print(what, markup=False, highlight=False)
                return
            (runs if verb == "trained" else failures)[name] = what
            progress.advance(task)

        lost = cluster.run(
            partial(_train, self, "cpu" if cluster.on == "cpu" else "cuda:0"),
            _longest_first(study, names),
            deal=lambda names, devices: [[name] for name in names],
            hear=hear,
            left=lambda device, names: [n for n in names if n not in runs and n not in failures],
        )
        failures |= {name: TrainingError(why) for name, why in lost}
        if failures:
            raise _together(failures, len(names))
        return [runs[name] for name in names]


def _train(
    how: Training, device: str, names: Sequence[str], tell: Callable[[tuple[str, Any, Any]], None]
) -> None:
    """What a device does: trains, and tells what an epoch came to, and the run or what went wrong."""
    for name in names:
        lines = Console(file=_Lines(partial(_said, tell, name)), width=WIDTH_WITHOUT_TERMINAL)
        try:
            tell(("trained", name, how.one(name, device, Progress(console=lines))))
        except PtprofError as error:
            tell(("failed", name, error))


def _said(tell: Callable[[tuple[str, Any, Any]], None], name: str, line: str) -> None:
    tell(("said", name, line))


class _Lines(io.StringIO):
    """A file that hands on each line that is written."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take

    def write(self, text: str) -> int:
        for line in filter(None, text.splitlines()):
            self._take(line)
        return len(text)


def _holds_data(study: Study) -> bool:
    return study.data.is_dir() and any(study.data.iterdir())


def _longest_first(study: Study, names: Sequence[str]) -> list[str]:
    """By how long the newest run of a model took, whatever its recipe; what was never trained comes first."""
    runs: list[Run] = [*study.pinns(), *study.runs()]
    took_s = {run.model: run.duration_s for run in runs}
    return sorted(names, key=lambda name: -took_s.get(name, float("inf")))


def _together(failures: dict[str, PtprofError], of: int) -> PtprofError:
    """One error for all that went wrong."""
    if len(failures) == 1:
        return next(iter(failures.values()))
    words = "; ".join(f"{name}: {error}" for name, error in failures.items())
    return TrainingError(f"{len(failures)} of {of} models could not be trained: {words}")
