"""Training, its estimate, its evaluation, and the sweep of the PINNs: one stage over many models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from ptprof import choices
from ptprof.amortise import costs
from ptprof.errors import UsageError
from ptprof.plots import check_type
from ptprof.records import PLAIN, Execution, PinnRecord, RunRecord
from ptprof.report import evaluation as evaluated
from ptprof.report import figures, pinns
from ptprof.report.estimates import EstimateReport, estimate_report
from ptprof.report.format import listed
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.train import burgers, evaluation
from ptprof.train import estimate as estimating
from ptprof.train.data.loader import AUTO, Reading
from ptprof.train.evaluation import Evaluation
from ptprof.train.recipe import DEPLOYABLE, PINNS, load_recipe
from ptprof.workflows.clusters import ExecutorName
from ptprof.workflows.clusters import executor as on_executor
from ptprof.workflows.power import watts
from ptprof.workflows.trainings import Training


def train(
    study: Study,
    models: Sequence[str] | None,
    *,
    recipe: str,
    seed: int,
    device: str,
    watts_per_core: float | None,
    progress: Progress,
    execution: Execution = PLAIN,
    reading: Reading = AUTO,
    data: Path | None = None,
    force: bool = False,
    executor: ExecutorName = "local",
    address: str | None = None,
) -> list[RunRecord | PinnRecord]:
    """Train the models, one after the other or on a cluster; those that are trained are left as they are."""
    names = choices.known(models, (*DEPLOYABLE, *PINNS))
    chosen = load_recipe(recipe)
    if (execution, reading) != (PLAIN, AUTO) and (plain := [name for name in names if name in PINNS]):
        raise UsageError(f"{plain[0]} is trained in one way only: leave precision, batch and the like out")
    how = Training(
        study=study.root.resolve(),
        recipe=chosen,
        seed=seed,
        watts_per_core=watts(watts_per_core),
        execution=execution,
        reading=reading,
        data=None if data is None else data.resolve(),
        force=force,
    )
    with on_executor(executor, study, address=address, device=device) as cluster:
        if cluster is None:
            return how.several(names, resolve_device(device), progress)
        return how.spread(names, cluster, progress)


def estimate(
    study: Study,
    models: Sequence[str] | None,
    *,
    recipe: str,
    epochs: int | None,
    limit_s: float | None,
    seed: int,
    device: str,
    execution: Execution,
    watts_per_core: float | None,
    intensity_g_per_kwh: float,
    pue: float,
    progress: Progress,
    reading: Reading = AUTO,
    data: Path | None = None,
    force: bool = False,
) -> EstimateReport:
    """Project what training the models would cost, one after the other."""
    costs.grams_per_joule(intensity_g_per_kwh, pue)
    chosen = load_recipe(recipe)
    device = resolve_device(device)
    records = [
        estimating.estimate(
            study,
            name,
            chosen,
            epochs=epochs,
            limit_s=estimating.LIMIT_S if limit_s is None else limit_s,
            seed=seed,
            device=device,
            execution=execution,
            reading=reading,
            data=data,
            force=force,
            progress=progress,
            watts_per_core=watts(watts_per_core),
        )
        for name in choices.known(models)
    ]
    return estimate_report(records, intensity_g_per_kwh=intensity_g_per_kwh, pue=pue)


def evaluate(
    study: Study,
    models: Sequence[str] | None,
    *,
    run: str | None,
    data: Path | None,
    steps: int | None,
    device: str,
    out: Path | None,
    progress: Progress,
) -> list[Evaluation]:
    """Score the newest run of each model (or ``run``) on a test split, and draw accuracy and rollouts."""
    scored = list(
        evaluation.evaluate(
            study,
            choices.trained(study, models, run),
            data=data,
            steps=steps,
            device=resolve_device(device),
            progress=progress,
        )
    )
    evaluations, examples = [list(part) for part in zip(*scored, strict=True)]
    drawn = evaluated.draw(evaluations, examples, out or study.report)
    names = listed(path.name for path in drawn)
    progress.console.print(f"drawn in {drawn[0].parent}: {names}", markup=False)
    return evaluations


def burgers_sweep(
    study: Study,
    *,
    recipe: str,
    sizes: Sequence[int] | None,
    seeds: int,
    device: str,
    intensity_g_per_kwh: float,
    pue: float,
    figure: Path | None,
    watts_per_core: float | None,
    force: bool,
    progress: Progress,
) -> burgers.TradeOff:
    """The sweep of the PINNs and what it says, drawn where asked to."""
    chosen = load_recipe(recipe)
    if figure is not None:
        check_type(figure)
    points = burgers.sweep(
        study,
        chosen,
        sizes=sizes,
        seeds=seeds,
        device=resolve_device(device),
        force=force,
        progress=progress,
        watts_per_core=watts(watts_per_core),
    )
    made = burgers.tradeoff(points, chosen, intensity_g_per_kwh=intensity_g_per_kwh, pue=pue)
    if figure is not None:
        figures.save(pinns.figure(made), figure)
    return made
