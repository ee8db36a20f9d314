"""The whole way."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import Progress

from ptprof import choices
from ptprof import export as exporting
from ptprof import profile as profiling
from ptprof.amortise import costs
from ptprof.amortise.amortising import AmortiseReport
from ptprof.progress import Stages
from ptprof.records import RunRecord
from ptprof.report import figures, tables
from ptprof.report.reported import reported
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.train import data as shear_flow_data
from ptprof.train.recipe import load_recipe
from ptprof.workflows.power import watts
from ptprof.workflows.reporting import report as write_report
from ptprof.workflows.training import train


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
    stage = Stages(progress, of=6)
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
            tables.parity([exporting.export(study, run, device=device, progress=progress) for run in runs])
        )
    with stage("profile: one step and rollouts of 10 steps"):
        measured = profiling.profile(
            study, runs, device=device, watts_per_core=watts(watts_per_core), progress=progress
        )
        stage.show(tables.measurements(measured))
    with stage("amortise: training spread over the queries"):
        report = costs.amortise_study(study, counts, costs.Query(device=device, recipe="quick"), models=names)
        drawing = study.report / "cost-against-queries.png"
        figures.save(figures.cost_against_queries(report), drawing)
        stage.show(f"drawn in {drawing}")
    with stage("report: one page that opens from a file"):
        asked = costs.Query(device=device, recipe="quick")
        stage.show(reported(write_report(study, queries=queries, models=names, query=asked)))
    return report
