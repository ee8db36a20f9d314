"""A study's models, opened to be served."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from ptprof.errors import StudyError, UsageError, unknown
from ptprof.export import deployable, open_artifact
from ptprof.records import RunRecord
from ptprof.runtimes import RUNTIMES, Runner, open_runner
from ptprof.serve.model import ServedModel
from ptprof.study import Study
from ptprof.train.recipe import FORECASTERS

_FORMATS = {"onnxruntime": "onnx", "torchscript": "torchscript"}


def load_models(
    study: Study, names: Sequence[str] | None = None, *, runtime: str = "onnxruntime", device: str = "cpu"
) -> dict[str, ServedModel]:
    """The newest run of each model, by the model's name; no names: every model that can be served.

    A file is opened only once it is proven to be the one that was exported: TorchScript can run code.

    Raises
    ------
    UsageError : a runtime or a model that is not known, or a model named twice
    StudyError : nothing to serve, a newest run that was not exported, a file that is not what was exported
    RuntimeUnavailable : a device or an execution provider that is not here
    """
    if runtime not in RUNTIMES:
        raise unknown("runtime", runtime, RUNTIMES)
    runs = _choose(study, names, runtime)
    served: dict[str, ServedModel] = {}
    with ExitStack() as opened:
        for name, run in runs.items():
            runner = opened.enter_context(_open(study, run, runtime, device))
            fields = ", ".join(run.statistics.fields)
            served[name] = ServedModel.of(runner, run=run.run, recipe=run.recipe, fields=fields)
        opened.pop_all()
    return served


def _choose(study: Study, names: Sequence[str] | None, runtime: str) -> dict[str, RunRecord]:
    newest = {run.model: run for run in study.runs()}
    if runtime == "eager":
        ready, need = set(newest), "trained models: train them with `ptprof train`"
    else:
        ready = {artifact.model for artifact in study.artifacts()} & set(newest)
        need = "exported models: export what is trained with `ptprof export`"
    if not ready:
        raise StudyError(f"{study.root} holds no {need}, or make everything with `ptprof quickstart`")
    if not names:
        # A model whose newest run was not exported is among them: an older one is not served in its place.
        return {name: run for name, run in newest.items() if name in ready}
    if len(set(names)) < len(names):
        raise UsageError(f"a model is named twice: {', '.join(names)}")
    for name in names:
        if name not in {*newest, *FORECASTERS}:
            raise unknown("model", name, sorted(newest))
    return {name: study.run(name) for name in names}


def _open(study: Study, run: RunRecord, runtime: str, device: str) -> Runner:
    if runtime == "eager":
        return open_runner(runtime, deployable(study, run), device=device)
    return open_artifact(study, run, _FORMATS[runtime], device=device)
