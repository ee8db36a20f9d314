"""A study's models, found to be served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptprof.errors import RuntimeUnavailable, StudyError, UsageError
from ptprof.export import open_model
from ptprof.records import RunRecord
from ptprof.runtimes import Runner, format_of, runtimes
from ptprof.serve.model import VALUE_BYTES, ServedModel
from ptprof.study import Study
from ptprof.train.recipe import DEPLOYABLE, in_order, unknown_model

NOT_SERVED = ("compile",)
"""It compiles for each size of a batch when that is first asked for."""


@dataclass(frozen=True)
class StudyModel:
    """The newest run of ``model``, whichever that is when it is opened; a `Source`.

    A file is opened only once it is proven to be the one that was exported: TorchScript can run code.
    """

    study: Study
    model: str
    runtime: str = "onnxruntime"
    device: str = "cpu"
    threads: int | None = None

    @property
    def size_bytes(self) -> int:
        """Of the exported file; of the weights in fp32 where there is none."""
        run = self.study.run(self.model)
        format = format_of(self.runtime)
        if format is None:
            return VALUE_BYTES * run.parameters
        record = self.study.artifact(run.run)
        files = record.files if record is not None else ()
        return max((f.size_bytes for f in files if f.format == format), default=0)

    def open(self) -> ServedModel:
        """Open it.

        Raises
        ------
        StudyError : a run that was not exported, a file that is gone, cut, or not what was exported
        RuntimeUnavailable : a device or an execution provider that is not here
        """
        try:
            run = self.study.run(self.model)
            runner = self._runner(run)
        except OSError as error:
            raise StudyError(f"{self.model}: {error.filename}: {error.strerror}") from error
        fields = ", ".join(run.statistics.fields)
        try:
            return ServedModel.of(runner, run=run.run, recipe=run.recipe, fields=fields)
        except UsageError:
            runner.close()
            raise

    def close(self, model: ServedModel) -> None:
        model.runner.close()

    def _runner(self, run: RunRecord) -> Runner:
        return open_model(self.study, run, self.runtime, device=self.device, threads=self.threads)


def find_models(
    study: Study,
    names: Sequence[str] | None = None,
    *,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int | None = None,
) -> dict[str, StudyModel]:
    """The newest run of each model, by the model's name; no names: every model that can be served.

    Parameters
    ----------
    threads : on the CPU, for each model; None: as many as the runtime takes

    Raises
    ------
    UsageError : a runtime or a model that is not known, or a model named twice
    StudyError : nothing to serve
    """
    format_of(runtime)  # raises: not known
    if runtime in NOT_SERVED:
        served = [name for name in runtimes() if name not in NOT_SERVED]
        raise RuntimeUnavailable(f"{runtime} cannot be served: take one of {', '.join(served)}")
    return {
        name: StudyModel(study, name, runtime, device, threads) for name in _choose(study, names, runtime)
    }


def _choose(study: Study, names: Sequence[str] | None, runtime: str) -> list[str]:
    newest = {run.model: run for run in study.runs()}
    if format_of(runtime) is None:
        ready, need = set(newest), "trained models: train them with `ptprof train`"
    else:
        ready = {artifact.model for artifact in study.artifacts()} & set(newest)
        need = "exported models: export what is trained with `ptprof export`"
    if not ready:
        raise StudyError(f"{study.root} holds no {need}, or make everything with `ptprof quickstart`")
    if not names:
        # A model whose newest run was not exported is among them: an older one is not served in its place.
        return [name for name in in_order(newest) if name in ready]
    if len(set(names)) < len(names):
        raise UsageError(f"a model is named twice: {', '.join(names)}")
    for name in names:
        if name not in {*newest, *DEPLOYABLE}:
            raise unknown_model(name, in_order(newest))
        study.run(name)  # raises: not trained
    return list(names)
