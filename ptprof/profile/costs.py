"""What each model of a study, or of a table, costs: the way into amortisation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from ptprof import stats
from ptprof.energy import combine as energy
from ptprof.energy.combine import random_error
from ptprof.errors import StudyError, UsageError
from ptprof.profile.amortise import (
    INTENSITY_G_PER_KWH,
    PUE,
    AmortiseReport,
    Candidate,
    Costs,
    Projected,
    amortise,
    parse_queries,
)
from ptprof.profile.breakeven import Cost, Lifetime, Part
from ptprof.profile.selection import Measured, Query, select
from ptprof.profile.table import from_table
from ptprof.records import (
    COMPONENTS,
    Component,
    Energy,
    EnergyBreakdown,
    EstimateRecord,
    Measurement,
    ModelRecord,
)
from ptprof.study import Study

__all__ = [
    "INTENSITY_G_PER_KWH",
    "PUE",
    "Query",
    "amortise_study",
    "amortise_table",
    "from_study",
    "from_table",
    "parse_queries",
]

JOULES_PER_KWH = 3.6e6


def amortise_study(
    study: Study,
    queries: Sequence[float],
    *,
    models: Sequence[str] | None = None,
    scenario: str = "one-step",
    device: str | None = None,
    runtime: str | None = None,
    batch: int = 1,
    run: str | None = None,
    precision: str = "fp32",
    nfe: int | None = None,
    recipe: str | None = None,
    intensity_g_per_kwh: float = INTENSITY_G_PER_KWH,
    pue: float = PUE,
) -> AmortiseReport:
    """Amortise what a study measured over ``queries``; see ``from_study`` and ``amortise``."""
    query = Query(scenario, device, runtime, batch, run, precision, nfe, recipe)
    costs = from_study(study, query, models=models, intensity_g_per_kwh=intensity_g_per_kwh, pue=pue)
    return amortise(costs, queries)


def amortise_table(path: Path, queries: Sequence[float]) -> AmortiseReport:
    """Amortise the figures of a CSV table over ``queries``; see ``from_table`` and ``amortise``."""
    return amortise(from_table(path), queries)


def from_study(
    study: Study,
    query: Query,
    *,
    models: Sequence[str] | None = None,
    intensity_g_per_kwh: float = INTENSITY_G_PER_KWH,
    pue: float = PUE,
) -> Costs:
    """Costs of the newest run of each model (of ``models`` where given) that is measured as ``query`` asks.

    Grams are joules / 3.6e6 · intensity · PUE, the joules being the sum of the components that every
    figure compared has. The random error of a query comes from the raw windows.

    Raises
    ------
    UsageError : an unknown scenario, precision, recipe or run, an intensity or PUE that cannot be
    StudyError : nothing trained or measured, or figures that may not be compared
    """
    grams = grams_per_joule(intensity_g_per_kwh, pue)
    measured, notes = select(study, query, models)
    training, serving = _components(measured)
    notes += _left_out_components(measured, training | serving)
    notes += [
        f"{m.run.model} evaluates its network {m.measurement.nfe} times per step."
        for m in measured
        if m.measurement.nfe is not None
    ]
    steps = measured[0].measurement.steps
    unit = "one-step" if query.scenario == "one-step" else f"rollout of {steps} steps"
    return Costs(
        tuple(_candidate(m, training, serving, grams) for m in measured),
        unit=unit,
        intensity_g_per_kwh=intensity_g_per_kwh,
        pue=pue,
        notes=tuple(notes),
    )


def grams_per_joule(intensity_g_per_kwh: float, pue: float) -> float:
    """Grams CO2eq of a joule; UsageError for an intensity or PUE that cannot be."""
    if not 0 < intensity_g_per_kwh < math.inf:
        raise UsageError(f"the carbon intensity must be above zero gCO2eq/kWh, not {intensity_g_per_kwh}")
    if not 1 <= pue < math.inf:
        raise UsageError(f"a site's PUE is at least 1, not {pue}")
    return intensity_g_per_kwh * pue / JOULES_PER_KWH


def cost(energies: Sequence[Energy], grams_per_joule: float) -> Cost:
    """What ``energies`` cost together, in grams; their random errors are independent."""
    return Cost(_parts(energies, grams_per_joule), grams_per_joule * _random(energies))


def _components(measured: Sequence[Measured]) -> tuple[frozenset[Component], frozenset[Component]]:
    """The components that training and queries are summed over: those that all the models have.

    CPU and memory must be in both phases, or they are left out of both. A GPU counts in a phase that ran
    on one, and there every model must have it: leaving it out would leave out most of the cost.
    """
    phases = [phase for m in measured for phase in m.phases]
    for name, device, joules in phases:
        if device.startswith("cuda") and joules.gpu is None:
            why = joules.missing.get("gpu", "not measured")
            raise StudyError(
                f"{name} ran on {device} but has no GPU energy ({why}): nothing equal to compare"
            )
    host = frozenset(COMPONENTS) - {"gpu"}
    for _, _, joules in phases:
        host &= joules.present.keys()
    training, serving = (host | _gpu([m.phases[i] for m in measured]) for i in (0, 1))
    if not training or not serving:
        raise StudyError("the figures have no component in common: train and profile on one machine")
    return training, serving


def _gpu(phases: Sequence[tuple[str, str, EnergyBreakdown]]) -> frozenset[Component]:
    with_gpu = [name for name, _, joules in phases if joules.gpu is not None]
    without = [name for name, _, joules in phases if joules.gpu is None]
    if with_gpu and without:
        raise StudyError(
            f"{with_gpu[0]} includes a GPU and {without[0]} does not: only equal components are compared"
        )
    return frozenset({"gpu"}) if with_gpu else frozenset()


def _left_out_components(measured: Sequence[Measured], used: frozenset[Component]) -> list[str]:
    present = {c for m in measured for _, _, joules in m.phases for c in joules.present}
    return [f"Left out: {c} energy, which not every figure has." for c in COMPONENTS if c in present - used]


def _candidate(
    m: Measured, training: frozenset[Component], serving: frozenset[Component], grams_per_joule: float
) -> Candidate:
    of_training = [e for c, e in m.run.energy.present.items() if c in training]
    of_query = [e for c, e in m.measurement.energy_per_query.present.items() if c in serving]
    per_query = Cost(
        _parts(of_query, grams_per_joule),
        grams_per_joule * _random_of_query(m.measurement, serving, of_query),
    )
    return Candidate(
        model=m.run.model,
        lifetime=Lifetime(cost(of_training, grams_per_joule), per_query),
        source=energy.add(of_query).source,
        training_source=energy.add(of_training).source,
        projected=_projected(m.run, of_training),
        runtime=m.measurement.runtime,
        device=m.measurement.device,
        batch=m.measurement.batch,
        components=tuple(c for c in COMPONENTS if c in training | serving),
    )


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


def _parts(energies: Iterable[Energy], grams_per_joule: float) -> tuple[Part, ...]:
    return tuple(Part(e.joules * grams_per_joule, e.systematic, e.gain_id) for e in energies)


def _random(energies: Iterable[Energy]) -> float:
    """The half-width (J) of the random error of a sum: its components err independently."""
    return stats.quadrature(random_error(e) for e in energies)


def _random_of_query(m: Measurement, components: frozenset[Component], energies: Iterable[Energy]) -> float:
    """Student's half-width (J) of the mean over the raw windows, components summed within each."""
    samples = []
    for window in m.windows:
        present = window.energy.present
        if window.calls and components <= present.keys():
            samples.append(sum(present[c].joules for c in components) / (window.calls * m.batch))
    interval = stats.t_interval(samples) if len(samples) > 1 else None
    if interval is None or interval.high is None:
        return _random(energies)
    return interval.high - interval.value
