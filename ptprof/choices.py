"""Which models, runs and kinds a command means: what was named, checked, or what there is."""

from __future__ import annotations

from collections.abc import Sequence

from ptprof.errors import StudyError, UsageError, unknown
from ptprof.records import ModelRecord, RunRecord
from ptprof.study import Study
from ptprof.train.recipe import DEPLOYABLE, FLOW_MATCHING, FORECASTERS, PINNS, load_recipe


def known(models: Sequence[str] | None, among: Sequence[str] = DEPLOYABLE) -> list[str]:
    """The models named, each known and once; the seven where none is named, ``among`` for ``all``."""
    if not models:
        return list(FORECASTERS)
    if list(models) == ["all"]:
        return list(among)
    for name in models:
        if name in PINNS and name not in among:
            raise UsageError(f"{name} is a PINN: only `ptprof train` and `ptprof burgers` know it as yet")
        if name not in among:
            raise unknown("model", name, among)
    return list(dict.fromkeys(models))


def trained(study: Study, models: Sequence[str] | None, run: str | None) -> list[RunRecord]:
    """The newest run of each model named, or of each that is trained (``all`` too); or the one run named."""
    if run is not None:
        runs = [r for r in study.runs() if r.run == run]
        if not runs:
            raise unknown("run", run, [r.run for r in study.runs()])
        return runs
    if models and list(models) != ["all"]:
        return [study.run(name) for name in known(models)]
    newest = {r.model: r for r in study.runs()}
    if not newest:
        raise StudyError(f"{study.root} holds no trained model: begin with `ptprof train`")
    return [newest[name] for name in DEPLOYABLE if name in newest]


def with_weights(
    study: Study, models: Sequence[str] | None, run: str | None, recipe: str | None, nfe: int | None
) -> list[ModelRecord]:
    """As `trained`, with the estimates of models that were not trained; of ``recipe`` where it is named.

    With ``nfe`` and nothing named, the model that samples is meant.
    """
    if nfe is not None and not models:
        models = [FLOW_MATCHING]
    if run is not None:
        return [study.named(run)]
    if recipe is not None:
        load_recipe(recipe)
    names = known(models) if models and list(models) != ["all"] else None
    newest = study.newest(names, recipe)
    return [newest[name] for name in names or DEPLOYABLE if name in newest]


def chosen(kind: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The names given, each known and once; all of them for ``all``."""
    if list(names) == ["all"]:
        return tuple(known)
    if not names:
        raise UsageError(f"name at least one {kind}: {', '.join(known)}, or all")
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)
    return tuple(dict.fromkeys(names))
