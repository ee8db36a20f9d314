"""What spans rooms: one stage over many models, the whole way, and the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from ptprof import choices, energy
from ptprof import export as exporting
from ptprof import profile as profiling
from ptprof import train as training
from ptprof.environment import environment
from ptprof.errors import RuntimeUnavailable, UsageError
from ptprof.export import FORMATS
from ptprof.plots import check_type
from ptprof.profile import costs, volume
from ptprof.profile.amortise import AmortiseReport
from ptprof.profile.scenarios import SCENARIOS
from ptprof.progress import Stages
from ptprof.records import (
    PLAIN,
    ArtifactRecord,
    Execution,
    Measurement,
    PinnRecord,
    RunRecord,
)
from ptprof.report import evaluation as evaluated
from ptprof.report import figures, pinns, tables
from ptprof.report.diagnosis import Diagnosis, Provision
from ptprof.report.estimates import EstimateReport, estimate_report
from ptprof.report.format import listed
from ptprof.runtimes import RUNTIMES
from ptprof.runtimes.availability import provider
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.train import burgers, evaluation
from ptprof.train import data as shear_flow_data
from ptprof.train import estimate as estimating
from ptprof.train.data.loader import AUTO, Reading
from ptprof.train.evaluation import Evaluation
from ptprof.train.recipe import DEPLOYABLE, PINNS, load_recipe


def quickstart(
    study: Study,
    models: Sequence[str] | None,
    *,
    queries: Sequence[str],
    device: str,
    seed: int,
    watts_per_core: float | None,
    progress: Progress,
) -> AmortiseReport:
    """The whole way at the quick recipe; what is done already is not done again.

    Each stage says on stderr what it found; the answer is returned. Raises what the stages raise.
    """
    counts = [costs.parse_queries(text) for text in queries]
    names = choices.known(models)
    device = resolve_device(device)
    stage = Stages(progress, of=5)
    with stage("data: simulate the shear flow"):
        info = shear_flow_data.generate(study.data, load_recipe("quick"), device=device, progress=progress)
        stage.show(tables.data_set(info))
    with stage(f"train: {len(names)} forecasters on {device}"):
        trained = train(
            study,
            names,
            recipe="quick",
            seed=seed,
            device=device,
            watts_per_core=watts_per_core,
            progress=progress,
        )
        runs = [run for run in trained if isinstance(run, RunRecord)]
        stage.show(tables.runs(runs))
    with stage("export: TorchScript and ONNX, proven equal"):
        stage.show(
            tables.parity([exporting.export(study, run, tuple(FORMATS), progress=progress) for run in runs])
        )
    with stage("profile: one step and rollouts of 10 steps"):
        measured = profiling.profile(
            study, runs, device=device, watts_per_core=_watts(watts_per_core), progress=progress
        )
        stage.show(tables.measurements(measured))
    with stage("amortise: training spread over the queries"):
        report = costs.amortise_study(study, counts, models=names, device=device, recipe="quick")
        drawing = study.report / "cost-against-queries.png"
        figures.save(figures.cost_against_queries(report), drawing)
        stage.show(f"drawn in {drawing}")
    return report


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
) -> list[RunRecord | PinnRecord]:
    """Train the models one after the other; those that are trained already are left as they are."""
    names = choices.known(models, (*DEPLOYABLE, *PINNS))
    chosen = load_recipe(recipe)
    device = resolve_device(device)
    if (execution, reading) != (PLAIN, AUTO) and (plain := [name for name in names if name in PINNS]):
        raise UsageError(f"{plain[0]} is trained in one way only: leave precision, batch and the like out")
    return [
        burgers.train(
            study,
            name,
            chosen,
            seed=seed,
            device=device,
            force=force,
            progress=progress,
            watts_per_core=_watts(watts_per_core),
        )
        if name in PINNS
        else training.train(
            study,
            name,
            chosen,
            seed=seed,
            device=device,
            execution=execution,
            reading=reading,
            data=data,
            force=force,
            progress=progress,
            watts_per_core=_watts(watts_per_core),
        )
        for name in names
    ]


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
            watts_per_core=_watts(watts_per_core),
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


def export(
    study: Study,
    models: Sequence[str] | None,
    *,
    run: str | None,
    formats: Sequence[str],
    nfe: int | None,
    force: bool,
    progress: Progress,
    recipe: str | None = None,
) -> list[ArtifactRecord]:
    """Export the newest run of each model (or ``run``) to each format, through the parity gate.

    With ``nfe`` and nothing named, the model that samples is meant.
    """
    wanted = choices.chosen("format", formats, tuple(FORMATS))
    return [
        exporting.export(study, record, wanted, nfe=nfe, force=force, progress=progress)
        for record in choices.with_weights(study, models, run, recipe, nfe)
    ]


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
        watts_per_core=_watts(watts_per_core),
        force=force,
        progress=progress,
    )


def _watts(given: float | None) -> float:
    return energy.CPU_WATTS_PER_CORE if given is None else given


def amortise(
    study: Study,
    *,
    queries: Sequence[str],
    table: Path | None,
    models: Sequence[str] | None,
    scenario: str,
    device: str | None,
    runtime: str | None,
    batch: int,
    run: str | None,
    precision: str,
    nfe: int | None,
    intensity_g_per_kwh: float,
    pue: float,
    figure: Path | None,
    recipe: str | None = None,
) -> AmortiseReport:
    """Spread training over ``queries``, from the study or from a table, and draw it where asked to."""
    served_by = None if table is not None else study
    counts = [volume.queries(text, served_by, scenario) for text in queries]
    if table is not None and models:
        raise UsageError("a table brings its own models: name models for a study, or give --table alone")
    if table is not None:
        report = costs.amortise_table(table, counts)
    else:
        report = costs.amortise_study(
            study,
            counts,
            models=choices.known(models) if models and list(models) != ["all"] else None,
            scenario=scenario,
            device=device,
            runtime=runtime,
            batch=batch,
            run=run,
            precision=precision,
            nfe=nfe,
            recipe=recipe,
            intensity_g_per_kwh=intensity_g_per_kwh,
            pue=pue,
        )
    if figure is not None:
        figures.save(figures.cost_against_queries(report), figure)
    return report


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
        watts_per_core=_watts(watts_per_core),
    )
    made = burgers.tradeoff(points, chosen, intensity_g_per_kwh=intensity_g_per_kwh, pue=pue)
    if figure is not None:
        figures.save(pinns.figure(made), figure)
    return made


def doctor() -> Diagnosis:
    """Look for sensors, GPUs and runtimes; what is missing is said, and is no error."""
    sensors = energy.probe()
    return Diagnosis(
        environment=environment(
            gpus=tuple(probe.device for probe in sensors if probe.component == "gpu" and probe.source),
            driver=energy.driver(),
        ),
        sensors=tuple(sensors),
        runtimes=tuple(_provision(runtime, device) for runtime in RUNTIMES for device in ("cpu", "cuda:0")),
    )


def _provision(runtime: str, device: str) -> Provision:
    try:
        return Provision(runtime=runtime, device=device, provider=provider(runtime, device))
    except RuntimeUnavailable as error:
        return Provision(runtime=runtime, device=device, provider=None, detail=str(error))
