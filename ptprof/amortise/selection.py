"""Which runs and measurements of a study are compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ptprof.amortise.components import Phase
from ptprof.errors import StudyError, unknown
from ptprof.records import Measurement, ModelRecord, variant_of
from ptprof.study import Study
from ptprof.train.recipe import RECIPES, in_order

PRECISIONS = ("fp32", "tf32", "bf16")
QUERIES = ("one-step", "rollout")
"""The scenarios that are queries: a cold start is paid beside them, and a load is many of them."""


@dataclass(frozen=True)
class Query:
    """Which measurements to take the cost of a query from.

    ``device`` and ``runtime`` None: the device on which most models are measured, and per model the
    runtime that takes the least energy. ``run`` names a run to take in place of its model's newest, and
    ``recipe`` the recipe that all are of. ``nfe`` is how often models that sample evaluate their networks,
    as their recipes say where None.
    """

    scenario: str = "one-step"
    device: str | None = None
    runtime: str | None = None
    batch: int = 1
    run: str | None = None
    precision: str = "fp32"
    nfe: int | None = None
    recipe: str | None = None

    def check(self) -> None:
        """Raise UsageError for what no measurement can be."""
        if self.scenario not in QUERIES:
            raise unknown("scenario", self.scenario, QUERIES)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.recipe is not None and self.recipe not in RECIPES:
            raise unknown("recipe", self.recipe, RECIPES)

    def takes(self, m: Measurement) -> bool:
        return (
            m.scenario == self.scenario
            # The paper's protocol counts the loading of the model among the queries.
            and m.protocol != "paper"
            and m.batch == self.batch
            and m.precision == self.precision
            and (m.nfe is None or m.variant == variant_of(nfe=self.nfe))
            and (self.runtime is None or m.runtime == self.runtime)
            and (self.device is None or _same_device(self.device, m))
        )

    def command(self, models: str = "") -> str:
        """The command line that measures it."""
        words = ["ptprof profile", models]
        words += [f"--scenario {self.scenario}"] if self.scenario != "one-step" else []
        words += [f"--runtime {self.runtime}"] if self.runtime else []
        words += [f"--device {self.device}"] if self.device else []
        words += [f"--batch {self.batch}"] if self.batch != 1 else []
        words += [f"--run {self.run}"] if self.run else []
        words += [f"--nfe {self.nfe}"] if self.nfe else []
        words += [f"--recipe {self.recipe}"] if self.recipe else []
        return " ".join(word for word in words if word)

    def __str__(self) -> str:
        words = [self.scenario, f"at batch {self.batch}", f"in {self.precision}"]
        words += [f"on {name}" for name in (self.runtime, self.device) if name]
        words += [f"with nfe {self.nfe}"] if self.nfe else []
        return " ".join(words)


ONE_STEP = Query()


@dataclass(frozen=True)
class Measured:
    """A model, trained or estimated, the measurement of what was exported from it, and that of its start."""

    run: ModelRecord
    measurement: Measurement
    cold_start: Measurement | None = None

    @property
    def training(self) -> Phase:
        return Phase(f"{self.run.model}'s training", self.run.device, self.run.energy)

    @property
    def serving(self) -> Phase:
        m = self.measurement
        return Phase(f"{self.run.model}'s query", m.device, m.energy_per_query)


def select(study: Study, query: Query, models: Sequence[str] | None) -> tuple[list[Measured], list[str]]:
    """The newest run of each model that is measured as ``query`` asks; and in words what is left out.

    A model that was not trained by a recipe stands with its estimate. All models are of one recipe. All
    measurements are from one board or CPU; per model the runtime of the least energy is taken.

    Raises
    ------
    UsageError : an unknown scenario, precision or run
    StudyError : nothing trained or measured, or models that do not answer the same query
    """
    query.check()
    measured, notes = _measured(study, _newest_runs(study, models, query), query, models)
    _check_equal_task(measured)
    return measured, notes


def select_every(
    study: Study, query: Query, models: Sequence[str] | None, *, any_batch: bool = False
) -> tuple[list[Measured], list[str]]:
    """As `select`, but with every runtime that a model was measured on, and every batch size if any will do.

    Raises
    ------
    UsageError, StudyError : as `select`
    """
    query.check()
    runs = _newest_runs(study, models, query)
    every = _since_trained(study, runs)
    current = [m for m in every if replace(query, batch=m.batch if any_batch else query.batch).takes(m)]
    if not current:
        raise _not_measured(study, query, models)
    groups: dict[tuple[str, int], list[Measurement]] = defaultdict(list)
    for m in _of_one_place(current):
        groups[m.runtime, m.batch].append(m)
    taken = [(run, group[run.run]) for run in runs for group in _by_group(groups) if run.run in group]
    measured = [Measured(run, m) for run, m in taken if run.energy.present]
    if not measured:
        raise StudyError(f"{study.root} holds no training with a known energy: run `ptprof train --force`")
    _check_equal_task(measured)
    lacking = [run.model for run in runs if run.run not in {one.run.run for one in measured}]
    return measured, [f"Left out: {model}, for want of a measurement of {query}." for model in lacking]


def _by_group(groups: dict[tuple[str, int], list[Measurement]]) -> list[dict[str, Measurement]]:
    return [_cheapest_by_run(groups[key]) for key in sorted(groups)]


def _since_trained(study: Study, runs: Iterable[ModelRecord]) -> list[Measurement]:
    """What was measured of those runs; what was before a run was trained anew is of another model."""
    by_name = {run.run: run for run in runs}
    every = study.measurements(lambda m: m.run in by_name and m.energy_per_query.present != {})
    return [m for m in every if m.created >= by_name[m.run].created]


def _not_measured(study: Study, query: Query, models: Sequence[str] | None) -> StudyError:
    names = " ".join(models or ())
    return StudyError(f"{study.root} holds no measurement of {query}: run `{query.command(names)}`")


def _newest_runs(study: Study, models: Sequence[str] | None, query: Query) -> list[ModelRecord]:
    """The newest run of each model, the one that is named in place of its model's; in the models' order."""
    named = study.named(query.run) if query.run is not None else None
    recipe = query.recipe or (named.recipe if named is not None else None)
    chosen = study.newest(models, recipe)
    if named is not None and named.model in chosen:
        chosen[named.model] = named
    runs = list(chosen.values()) if models else [chosen[model] for model in in_order(chosen)]
    _check_one_recipe(runs)
    return runs


def _measured(
    study: Study, runs: Sequence[ModelRecord], query: Query, models: Sequence[str] | None
) -> tuple[list[Measured], list[str]]:
    """Each run with its measurement, all from one device; and in words which had to be left out."""
    every = _since_trained(study, runs)
    current = [m for m in every if query.takes(m)]
    if not current:
        raise _not_measured(study, query, models)
    candidates = _of_one_place(current)
    taken = _cheapest_by_run(candidates)
    notes = []
    measured = []
    for run in runs:
        if run.run not in taken:
            remedy = f"run `{replace(query, device=candidates[0].device).command(run.model)}`"
            notes.append(f"Left out: {run.model}, for {run.run} has no measurement of {query}; {remedy}.")
        elif not run.energy.present:
            notes.append(f"Left out: {run.model}, for the energy of its training is not known.")
        else:
            measured.append(Measured(run, taken[run.run], _cold_start(every, taken[run.run])))
    if not measured:
        raise StudyError(f"{study.root} holds no training with a known energy: run `ptprof train --force`")
    return measured, notes


def _cold_start(measurements: Iterable[Measurement], of: Measurement) -> Measurement | None:
    """The last measurement of starting what ``of`` measured; None where there is none."""

    def served(m: Measurement) -> tuple[object, ...]:
        return m.run, m.runtime, m.device_id, m.precision, m.variant

    starts = [m for m in measurements if m.scenario == "cold-start" and served(m) == served(of)]
    return starts[-1] if starts else None


def _of_one_place(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The measurements of the one board or CPU, and rollout length, that has most models; then the newest."""
    places: dict[tuple[str, str, int], list[Measurement]] = defaultdict(list)
    for m in measurements:
        places[m.device, m.device_id, m.steps].append(m)
    return max(
        places.values(), key=lambda group: (len({m.run for m in group}), max(m.created for m in group))
    )


def _cheapest_by_run(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    """Per run the measurement of the least energy, the last one where one thing was measured twice.

    A full protocol goes before a quick one, and more components before fewer: fewer are not less energy.
    """
    ranked = sorted(measurements, key=lambda m: (m.protocol == "full", m.created))
    last = {(m.run, m.runtime, m.variant, m.threads): m for m in ranked}
    dearest_first = sorted(last.values(), key=lambda m: (len(m.energy_per_query.present), -_joules(m)))
    return {m.run: m for m in dearest_first}


def _joules(m: Measurement) -> float:
    return m.energy_per_query.joules or 0.0


def _same_device(asked: str, m: Measurement) -> bool:
    return asked in (m.device, m.device_id) or (asked == "cuda" and m.device == "cuda:0")


def _check_one_recipe(runs: Sequence[ModelRecord]) -> None:
    """What another recipe costs is another question."""
    first = runs[0]
    for other in runs[1:]:
        if other.recipe != first.recipe:
            raise StudyError(
                f"{first.run} is of recipe {first.recipe} and {other.run} of recipe {other.recipe}, which are"
                " not compared: choose one with --recipe, or name models"
            )


def _check_equal_task(measured: Sequence[Measured]) -> None:
    """A query must be the same for all: one grid, one history."""
    first = measured[0].run
    for other in measured[1:]:
        if (other.run.grid, other.run.history) != (first.grid, first.history):
            a, b = (f"{r.run} ({r.grid[0]}×{r.grid[1]}, history {r.history})" for r in (first, other.run))
            raise StudyError(
                f"{a} and {b} do not answer the same query: choose models, or another run with --run"
            )
