"""What spans rooms: one stage over many models, the whole way, and the doctor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import RenderableType
from rich.progress import Progress

from ptprof import energy
from ptprof import export as exporting
from ptprof import profile as profiling
from ptprof import train as training
from ptprof.environment import environment
from ptprof.errors import RuntimeUnavailable, StudyError, UsageError, unknown
from ptprof.export import FORMATS
from ptprof.profile import costs
from ptprof.profile.amortise import AmortiseReport
from ptprof.profile.scenarios import SCENARIOS
from ptprof.records import ArtifactRecord, Measurement, RunRecord
from ptprof.report import figures, tables
from ptprof.report.diagnosis import Diagnosis, Provision
from ptprof.runtimes import RUNTIMES
from ptprof.runtimes.availability import provider
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.train import data as shear_flow_data
from ptprof.train.recipe import FORECASTERS, load_recipe


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
    names = _known(models)
    device = resolve_device(device)
    stage = _Stages(progress, of=5)
    with stage("data: simulate the shear flow"):
        info = shear_flow_data.generate(study.data, load_recipe("quick"), device=device, progress=progress)
        stage.show(tables.data_set(info))
    with stage(f"train: {len(names)} forecasters on {device}"):
        runs = train(
            study,
            names,
            recipe="quick",
            seed=seed,
            device=device,
            watts_per_core=watts_per_core,
            progress=progress,
        )
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
        report = costs.amortise_study(study, counts, models=names, device=device)
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
    data: Path | None = None,
    force: bool = False,
) -> list[RunRecord]:
    """Train the models one after the other; those that are trained already are left as they are."""
    names = _known(models)
    chosen = load_recipe(recipe)
    device = resolve_device(device)
    return [
        training.train(
            study,
            name,
            chosen,
            seed=seed,
            device=device,
            data=data,
            force=force,
            progress=progress,
            watts_per_core=_watts(watts_per_core),
        )
        for name in names
    ]


def export(
    study: Study,
    models: Sequence[str] | None,
    *,
    run: str | None,
    formats: Sequence[str],
    force: bool,
    progress: Progress,
) -> list[ArtifactRecord]:
    """Export the newest run of each model (or ``run``) to each format, through the parity gate."""
    wanted = _chosen("format", formats, tuple(FORMATS))
    return [
        exporting.export(study, record, wanted, force=force, progress=progress)
        for record in _trained(study, models, run)
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
    watts_per_core: float | None,
    force: bool,
    progress: Progress,
) -> list[Measurement]:
    """Measure the newest run of each model (or ``run``) on each runtime and scenario."""
    return profiling.profile(
        study,
        _trained(study, models, run),
        runtimes=_chosen("runtime", runtimes, RUNTIMES),
        scenarios=_chosen("scenario", scenarios, SCENARIOS),
        device=resolve_device(device),
        batch=batch,
        steps=steps,
        watts_per_core=_watts(watts_per_core),
        force=force,
        progress=progress,
    )


def _known(models: Sequence[str] | None) -> list[str]:
    """The models named, each known and once; the seven where none is named."""
    if not models or list(models) == ["all"]:
        return list(FORECASTERS)
    for name in models:
        if name not in FORECASTERS:
            raise unknown("model", name, FORECASTERS)
    return list(dict.fromkeys(models))


def _trained(study: Study, models: Sequence[str] | None, run: str | None) -> list[RunRecord]:
    """The newest run of each model named, or of each that is trained; or the one run named."""
    if run is not None:
        runs = [r for r in study.runs() if r.run == run]
        if not runs:
            raise unknown("run", run, [r.run for r in study.runs()])
        return runs
    if models:
        return [study.run(name) for name in _known(models)]
    trained = {r.model: r for r in study.runs()}
    if not trained:
        raise StudyError(f"{study.root} holds no trained model: begin with `ptprof train`")
    return [trained[name] for name in FORECASTERS if name in trained]


def _chosen(kind: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The names given, each known and once; all of them for ``all``."""
    if list(names) == ["all"]:
        return tuple(known)
    if not names:
        raise UsageError(f"name at least one {kind}: {', '.join(known)}, or all")
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)
    return tuple(dict.fromkeys(names))


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
    intensity_g_per_kwh: float,
    pue: float,
    figure: Path | None,
) -> AmortiseReport:
    """Spread training over ``queries``, from the study or from a table, and draw it where asked to."""
    counts = [costs.parse_queries(text) for text in queries]
    if table is not None and models:
        raise UsageError("a table brings its own models: name models for a study, or give --table alone")
    if table is not None:
        report = costs.amortise_table(table, counts)
    else:
        report = costs.amortise_study(
            study,
            counts,
            models=_known(models) if models else None,
            scenario=scenario,
            device=device,
            runtime=runtime,
            batch=batch,
            run=run,
            precision=precision,
            intensity_g_per_kwh=intensity_g_per_kwh,
            pue=pue,
        )
    if figure is not None:
        figures.save(figures.cost_against_queries(report), figure)
    return report


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


class _Stages:
    """Headings of the whole way on the progress display's console, each with the time it took."""

    def __init__(self, progress: Progress, of: int) -> None:
        self._progress = progress
        self._of = of
        self._count = 0

    @contextmanager
    def __call__(self, title: str) -> Iterator[None]:
        self._count += 1
        console = self._progress.console
        console.print(f"[bold]{self._count}/{self._of} {title}[/bold]")
        begun = time.perf_counter()
        yield
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        console.print(f"[dim]took {time.perf_counter() - begun:.0f} s[/dim]\n")

    def show(self, renderable: RenderableType) -> None:
        """Print a result above the progress bars."""
        self._progress.console.print(renderable)
