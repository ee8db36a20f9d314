"""What each model of a study costs: the way into amortisation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ptprof.amortise import solver
from ptprof.amortise.accuracy import Metric
from ptprof.amortise.amortising import AmortiseReport, amortise, parse_queries
from ptprof.amortise.assumptions import PUE, USUAL, Assumptions, grams_per_joule
from ptprof.amortise.candidate import Candidate, Costs, Item, Paid, Projected
from ptprof.amortise.components import Compared, compared
from ptprof.amortise.extras import cold_starts, data_generation, embodied, tuning, tuning_phases
from ptprof.amortise.grams import chosen, cost, query_cost, shared_cost
from ptprof.amortise.grids import INTENSITY_G_PER_KWH
from ptprof.amortise.lifetime import Cost, Lifetime, add, scaled
from ptprof.amortise.selection import ONE_STEP, Measured, Query, select
from ptprof.amortise.table import from_table
from ptprof.energy import combine as energy
from ptprof.errors import StudyError
from ptprof.records import Energy, EstimateRecord, GenerationRecord, Interval, ModelRecord, RunRecord
from ptprof.study import Study
from ptprof.train.recipe import load_recipe

__all__ = [
    "INTENSITY_G_PER_KWH",
    "MODELS",
    "ONE_STEP",
    "PUE",
    "USUAL",
    "Assumptions",
    "Costs",
    "Query",
    "Scope",
    "amortise_study",
    "cost",
    "from_study",
    "from_table",
    "grams_per_joule",
    "parse_queries",
]


@dataclass(frozen=True)
class Scope:
    """What is compared, and per what.

    ``simulated_second`` counts seconds of the flow in place of queries; ``solver`` adds the numerical solver;
    ``metric`` is the accuracy to set against carbon; models whose error is above ``max_error`` are left out.
    """

    simulated_second: bool = False
    solver: bool = False
    metric: Metric | None = None
    max_error: tuple[Metric, float] | None = None


MODELS = Scope()
"""The models that there are, per query."""


@dataclass(frozen=True)
class _Basis:
    """What the costs of all the models rest on; ``query_s`` is how much of the flow a forecast is.

    It is known where time is counted or the solver compared.
    """

    study: Study
    parts: Compared
    assumptions: Assumptions
    scope: Scope
    made: GenerationRecord | None
    query_s: float


def amortise_study(
    study: Study,
    queries: Sequence[float],
    query: Query = ONE_STEP,
    *,
    models: Sequence[str] | None = None,
    assumptions: Assumptions = USUAL,
    scope: Scope = MODELS,
    bootstrap: bool = False,
) -> AmortiseReport:
    """Amortise what a study measured over ``queries``; see ``from_study`` and ``amortise``."""
    costs = from_study(study, query, models=models, assumptions=assumptions, scope=scope)
    return amortise(costs, queries, bootstrap=bootstrap)


def from_study(
    study: Study,
    query: Query,
    *,
    models: Sequence[str] | None = None,
    assumptions: Assumptions = USUAL,
    scope: Scope = MODELS,
) -> Costs:
    """Costs of the newest run of each model (of ``models`` where given) that is measured as ``query`` asks.

    Grams are joules / 3.6e6 · intensity · PUE, the joules being the sum of the components that every
    figure compared has. The random error of a query comes from the raw windows.

    Raises
    ------
    UsageError : an unknown scenario, precision, recipe or run
    StudyError : nothing trained or measured, figures that may not be compared, or one that is lacking
    """
    measured, notes = select(study, query, models)
    if scope.max_error is not None:
        measured, too_wrong = _accurate_enough(study, measured, *scope.max_error)
        notes += too_wrong
    first = measured[0]
    made = _generated(study, first.run) if scope.solver or assumptions.data else None
    serving = [m.serving for m in measured]
    if scope.solver and made is not None:
        serving.append(solver.phase(made))
    tuned = [phase for m in measured for phase in tuning_phases(study, m, assumptions)]
    parts = compared([*(m.training for m in measured), *tuned], serving)
    steps = first.measurement.steps
    counts_time = scope.simulated_second or scope.solver
    query_s = steps * (_dt(study, first.run) if counts_time else 1.0)
    basis = _Basis(study, parts, assumptions, scope, made, query_s)
    candidates = [_candidate(basis, m) for m in measured]
    if scope.solver and made is not None:
        seconds = 1.0 if scope.simulated_second else basis.query_s
        candidates.append(solver.candidate(made, parts, assumptions, seconds, scope.metric is not None))
    return Costs(
        tuple(candidates),
        unit=_unit(query, steps, scope),
        intensity_g_per_kwh=assumptions.serving.intensity_g_per_kwh,
        pue=assumptions.serving.pue,
        notes=(*notes, *_notes(basis, measured, steps)),
        assumptions=assumptions,
        metric=scope.metric,
    )


def _unit(query: Query, steps: int, scope: Scope) -> str:
    if scope.simulated_second:
        return "simulated second"
    return "one-step" if query.scenario == "one-step" else f"rollout of {steps} steps"


def _candidate(basis: _Basis, m: Measured) -> Candidate:
    """The costs of one model, as they are paid: once, at each training, with every query."""
    parts, assumptions, run = basis.parts, basis.assumptions, m.run
    of_training = chosen(run.energy, parts.training)
    training = _training_cost(of_training, run, assumptions)
    per_query, samples = query_cost(m.measurement, parts.serving, assumptions.serving.grams_per_joule)
    share = 1 / basis.query_s if basis.scope.simulated_second else 1.0
    query_source = energy.add(chosen(m.measurement.energy_per_query, parts.serving)).source
    training_source = energy.add(of_training).source
    paid = [
        *_once(basis, m, training),
        Paid(training, Item(what="training", paid="training", grams=training.grams, source=training_source)),
        Paid(
            scaled(per_query, share),
            Item(what="query", paid="query", grams=per_query.grams * share, source=query_source),
        ),
        *_embodied(basis, m, share),
    ]
    return Candidate(
        model=run.model,
        lifetime=_lifetime(paid, assumptions.retrain_every),
        source=query_source,
        training_source=training_source,
        projected=_projected(run, of_training),
        runtime=m.measurement.runtime,
        device=m.measurement.device,
        batch=m.measurement.batch,
        components=parts.all,
        items=tuple(one.item for one in paid),
        error=_error(basis.study, run, basis.scope.metric),
        samples=tuple(sample * share for sample in samples),
    )


def _training_cost(energies: Sequence[Energy], run: ModelRecord, assumptions: Assumptions) -> Cost:
    grams = assumptions.training.grams_per_joule
    if isinstance(assumptions.tuning, float):  # so many trainings err as the one does
        return shared_cost(energies, grams, f"training of {run.run}")
    return cost(energies, grams)


def _once(basis: _Basis, m: Measured, training: Cost) -> list[Paid]:
    """What is paid once, whatever the number of trainings and queries."""
    assumptions, parts = basis.assumptions, basis.parts
    paid = []
    if assumptions.data and basis.made is not None:
        paid.append(data_generation(basis.made, parts, assumptions.training))
    if assumptions.tuning is not None:
        paid.append(tuning(basis.study, m, training, parts, assumptions))
    if assumptions.cold_starts:
        paid.append(cold_starts(m, parts, assumptions))
    return paid


def _embodied(basis: _Basis, m: Measured, share: float) -> list[Paid]:
    """What making the device adds to a training and to a query, by how long they keep it busy."""
    made = basis.assumptions.embodied
    if made is None:
        return []
    training = embodied(made, m.run.duration_s * m.run.devices)
    query = embodied(made, share / m.measurement.throughput_per_s.value)
    return [
        Paid(training, Item(what="embodied", paid="training", grams=training.grams, source="given")),
        Paid(query, Item(what="embodied", paid="query", grams=query.grams, source="given")),
    ]


def _lifetime(paid: Sequence[Paid], retrain_every: float | None) -> Lifetime:
    once, training, per_query = (
        add([one.cost for one in paid if one.item.paid == when]) for when in ("once", "training", "query")
    )
    return Lifetime(training, per_query, once, retrain_every)


def _accurate_enough(
    study: Study, measured: Sequence[Measured], metric: Metric, most: float
) -> tuple[list[Measured], list[str]]:
    """Those whose error is not above ``most``, and in words which are left out; StudyError where all are."""
    kept, notes = [], []
    for m in measured:
        error = _error(study, m.run, metric)
        if error is not None and error.value <= most:
            kept.append(m)
            continue
        known = f"is {error.value:.3g}, above {most:g}" if error is not None else "is not known"
        notes.append(f"Left out: {m.run.model}, for its {metric} {known}.")
    if not kept:
        raise StudyError(f"no model is accurate enough. {' '.join(notes)}")
    return kept, notes


def _error(study: Study, run: ModelRecord, metric: Metric | None) -> Interval | None:
    """The error of the run and of those that differ from it in their seed; None of an estimate."""
    if metric is None or not isinstance(run, RunRecord):
        return None
    settings = (run.recipe_sha256, run.execution, run.data_sha256)
    alike = (r for r in study.runs(run.model) if (r.recipe_sha256, r.execution, r.data_sha256) == settings)
    return metric.over(alike)


def _generated(study: Study, run: ModelRecord) -> GenerationRecord:
    made = study.generation()
    if made is None:
        raise StudyError(
            f"{study.data} does not tell what simulating it took: run `ptprof data generate --force`"
        )
    if made.grid != run.grid:
        a, b = (f"{grid[0]}×{grid[1]}" for grid in (made.grid, run.grid))
        raise StudyError(f"the data of the study are on {a} and {run.run} on {b}: not the same query")
    return made


def _dt(study: Study, run: ModelRecord) -> float:
    """The time between two states (s): of the study's data where they are there, or else of the recipe."""
    if (made := study.generation()) is not None:
        return made.dt
    if study.data.is_dir() and any(study.data.iterdir()):
        from ptprof.train.data import info  # brings torch, which costs need for nothing else

        return info(study.data).dt
    return load_recipe(run.recipe).data.dt


def _notes(basis: _Basis, measured: Sequence[Measured], steps: int) -> list[str]:
    notes = [f"Left out: {c} energy, which not every figure has." for c in basis.parts.left_out]
    notes += [
        f"{m.run.model} evaluates its network {m.measurement.nfe} times per step."
        for m in measured
        if m.measurement.nfe is not None
    ]
    if basis.scope.simulated_second:
        dt = basis.query_s / steps
        notes.append(f"A simulated second of the flow is {1 / dt:.4g} steps, costed from {_forecast(steps)}.")
    if basis.scope.solver:
        notes.append(
            "The solver's energy is that of simulating the data, many trajectories side by side; its error is"
            " zero, for the models' errors are distances from it."
        )
    return notes


def _forecast(steps: int) -> str:
    return "one-step forecasts" if steps == 1 else f"rollouts of {steps} steps"


def _projected(run: ModelRecord, of_training: Iterable[Energy]) -> Projected | None:
    if not isinstance(run, EstimateRecord):
        return None
    return Projected(
        epochs=run.epochs,
        steps=run.sampled_steps,
        half_width=run.half_width,
        converged=run.converged,
        source=energy.weakest(map(energy.basis, of_training)),
        synthetic_data=run.synthetic_data,
    )
