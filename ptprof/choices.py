"""Which models, runs and kinds a command means: what was named, checked, or what there is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ptprof.errors import StudyError, UsageError, unknown
from ptprof.records import Model, RunRecord, Spectral
from ptprof.study import Study
from ptprof.train.recipe import (
    DEPLOYABLE,
    FLOW_MATCHING,
    FORECASTERS,
    OPERATORS,
    PINNS,
    in_order,
    load_recipe,
    own_models,
    unknown_model,
)


def known(
    models: Sequence[str] | None, among: Sequence[str] = DEPLOYABLE, there: Collection[str] = ()
) -> list[str]:
    """The models named, each known and once; the seven where none is named, ``among`` for ``all``.

    Models of plugins are known, and those ``there`` already, whose plugin need not be here.
    """
    if not models:
        return list(FORECASTERS)
    if list(models) == ["all"]:
        return list(among)
    for name in models:
        if name in PINNS and name not in among:
            raise UsageError(
                f"{name} is a PINN: `ptprof train`, `burgers`, `export` and `profile` know it, and no other"
            )
        if name not in {*among, *there} and name not in own_models():
            raise unknown_model(name, among)
    return list(dict.fromkeys(models))


def named(study: Study, models: Sequence[str] | None) -> list[str] | None:
    """The models named, as `known` those that the study has too; None where all of it are meant."""
    if not models or list(models) == ["all"]:
        return None
    return known(models, there=_there(study))


def trained(study: Study, models: Sequence[str] | None, run: str | None) -> list[RunRecord]:
    """The newest run of each model named, or of each that is trained (``all`` too); or the one run named."""
    if run is not None:
        runs = [r for r in study.runs() if r.run == run]
        if not runs:
            raise unknown("run", run, [r.run for r in study.runs()])
        return runs
    newest = {r.model: r for r in study.runs()}
    if models and list(models) != ["all"]:
        return [study.run(name) for name in known(models, there=newest)]
    if not newest:
        raise StudyError(f"{study.root} holds no trained model: begin with `ptprof train`")
    return [newest[name] for name in in_order(newest)]


def with_weights(
    study: Study,
    models: Sequence[str] | None,
    run: str | None,
    recipe: str | None,
    nfe: int | None,
    spectral: Spectral = "gemm",
) -> list[Model]:
    """As `trained`, with the estimates of models that were not trained; of ``recipe`` where it is named.

    PINNs are meant where they are named. With ``nfe`` and nothing named, the model that samples is meant,
    with ``spectral`` "fft" those with spectral layers.
    """
    if nfe is not None and not models:
        models = [FLOW_MATCHING]
    if run is not None:
        return [study.deployable(run)]
    if recipe is not None:
        load_recipe(recipe)
    if models and list(models) != ["all"]:
        names = known(models, (*DEPLOYABLE, *PINNS), there=_there(study))
        others = [name for name in names if name not in PINNS]
        newest = study.newest(others, recipe) if others else {}
        return [study.pinn(name, recipe) if name in PINNS else newest[name] for name in names]
    newest = study.newest(None, recipe)
    among = [name for name in in_order(newest) if spectral != "fft" or name in OPERATORS]
    if not among:
        raise StudyError(f"{study.root} holds no trained model with spectral layers: name one to train")
    return [newest[name] for name in among]


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


def _there(study: Study) -> set[str]:
    return {record.model for record in study.models()}
