"""The fleet that a volume of queries needs, projected from what was measured of one worker.

A worker is what was measured: a GPU, or so many threads of a CPU. There are as many as meet the latency at
the busiest time (`queueing`), and all of them are there all year. Their energy is that of the queries, as
measured, and their idle power for the rest of the time; docs/fleet.md has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ptprof import stats
from ptprof.amortise.assumptions import GRAMS_PER_KG, SECONDS_PER_YEAR, USUAL, Assumptions
from ptprof.amortise.components import compared
from ptprof.amortise.fleet_answer import Best, Demand, Devices, Fleet, FleetReport, TooSlow
from ptprof.amortise.grams import chosen, cost, query_cost
from ptprof.amortise.lifetime import NOTHING, Cost, Lifetime, Part, add, difference, scaled
from ptprof.amortise.queueing import Queues, Service, filling_s
from ptprof.amortise.selection import ONE_STEP, Measured, Query, select_every
from ptprof.energy import combine as energy
from ptprof.errors import StudyError, UsageError
from ptprof.profile.percentiles import samples_needed
from ptprof.profile.protocol import confidence_of
from ptprof.records import JOULES_PER_KWH, Component, Interval, Measurement
from ptprof.study import Study

SECONDS_PER_DAY = 86_400
DAYS_PER_YEAR = SECONDS_PER_YEAR / SECONDS_PER_DAY


@dataclass(frozen=True)
class _Planned:
    """A fleet, and what it costs in a year (g)."""

    fleet: Fleet
    total: Cost


def from_study(
    study: Study,
    demand: Demand,
    query: Query = ONE_STEP,
    *,
    models: Sequence[str] | None = None,
    any_batch: bool = True,
    assumptions: Assumptions = USUAL,
) -> FleetReport:
    """The fleet of each model, on each runtime and at each batch size that was measured, by rising CO2eq.

    Raises
    ------
    UsageError : a latency that nothing measured can meet; the text says the least that can be
    StudyError : nothing trained or measured, or nothing that may be compared
    """
    measured, notes = select_every(study, query, models, any_batch=any_batch)
    timed = [(m, service) for m in measured if (service := service_of(m.measurement)) is not None]
    if not timed:
        raise StudyError(f"the measurements of {study.root} hold no time of a single call: profile it anew")
    parts = compared([m.training for m, _ in timed], [m.serving for m, _ in timed])
    plans: list[_Planned] = []
    slow: list[TooSlow] = []
    for m, service in timed:
        sized = size(service, m.measurement, demand)
        if isinstance(sized, TooSlow):
            slow.append(sized)
        else:
            plans.append(_plan(m, service, sized, demand, parts.training, parts.serving, assumptions))
    if not plans:
        least = min(slow, key=lambda one: one.least_s)
        raise UsageError(
            f"no model answers {demand.percentile:g} % within {demand.bound_s * 1e3:.4g} ms: the least that"
            f" can be asked for is {_rounded_up(least.least_s * 1e3)} ms, of {least.model} on {least.runtime}"
            f" at batch {least.batch}"
        )
    plans.sort(key=lambda plan: plan.total.grams)
    first = timed[0][0].measurement
    return FleetReport(
        demand=demand,
        unit="one-step" if query.scenario == "one-step" else f"rollout of {first.steps} steps",
        device=first.device,
        device_id=first.device_id,
        components=tuple(sorted(parts.serving)),
        intensity_g_per_kwh=assumptions.serving.intensity_g_per_kwh,
        pue=assumptions.serving.pue,
        fleets=tuple(plan.fleet for plan in plans),
        too_slow=tuple(sorted(slow, key=lambda one: one.least_s)),
        cheapest=_cheapest(plans),
        assumptions=assumptions,
        notes=(*notes, *_notes(timed, demand)),
    )


def service_of(m: Measurement) -> Service | None:
    """How long calls took, in the windows that count; None where no call was timed."""
    times = tuple(time for window in m.windows if window.counts for time in window.latencies_s if time > 0)
    return Service(times) if times else None


def size(service: Service, m: Measurement, demand: Demand) -> Devices | TooSlow:
    """How many workers meet the demand; or, where none do, the least latency that could be asked for.

    Half of what may be late is granted to the filling of a batch, half to the queue: then both together hold.
    """
    late = 1 - demand.percentile / 100
    share = 1 - (late if m.batch == 1 else late / 2)
    filling = filling_s(m.batch, demand.mean_per_s, share)
    least_s = service.quantile(share) + filling
    bound_s = demand.bound_s - filling

    def needed(factor: float) -> int | None:
        queues = Queues(service.scaled(factor), demand.dispatch, m.batch)
        return queues.workers_needed(demand.peak_per_s, bound_s, share)

    serving = needed(1.0)
    if serving is None:
        return TooSlow(model=m.model, runtime=m.runtime, batch=m.batch, least_s=least_s)
    queues = Queues(service, demand.dispatch, m.batch)
    quicker, slower = _quicker_and_slower(m)
    few, many = (None if factor is None else needed(factor) for factor in (quicker, slower))
    response = queues.quantile(share, serving, demand.peak_per_s)
    return Devices(
        serving=serving,
        low=few,
        high=many,
        spares=demand.spares,
        least=queues.least(demand.peak_per_s),
        utilisation=queues.utilisation(serving, demand.mean_per_s),
        peak_utilisation=queues.utilisation(serving, demand.peak_per_s),
        latency_s=response + filling if math.isfinite(response) else None,
        filling_s=filling,
    )


def _quicker_and_slower(m: Measurement) -> tuple[float | None, float | None]:
    """The ends of the time of a call, over its value: those of the throughput."""
    rate = m.throughput_per_s
    if not rate.low or not rate.high:
        return None, None
    return rate.value / rate.high, rate.value / rate.low


def _plan(
    measured: Measured,
    service: Service,
    devices: Devices,
    demand: Demand,
    of_training: frozenset[Component],
    of_serving: frozenset[Component],
    assumptions: Assumptions,
) -> _Planned:
    m, run = measured.measurement, measured.run
    per_joule = assumptions.serving.grams_per_joule
    queries = demand.queries_per_day * DAYS_PER_YEAR
    owned = devices.serving + demand.spares
    busy_s = queries / m.batch * service.mean_s
    idle_s = owned * SECONDS_PER_YEAR - busy_s
    served, _ = query_cost(m, of_serving, 1.0)
    idle_power = idle_cost(m, of_serving)
    served_j, idle_j = scaled(served, queries), scaled(idle_power, idle_s)
    # Joules and seconds are of the same windows: what they err by adds up, as if they erred together.
    spread = 0.0 if devices.low is None or devices.high is None else (devices.high - devices.low) / 2
    by_count = spread * SECONDS_PER_YEAR * idle_power.grams
    used_j = _erring_together(served_j, idle_j, by_count)
    embodied = _embodied(assumptions, owned, spread)
    trained = chosen(run.energy, of_training)
    training = scaled(cost(trained, assumptions.training.grams_per_joule), demand.trainings_per_year)
    serving = scaled(used_j, per_joule)
    total = (
        add([serving, embodied, training])
        if serving.random is not None
        else _exact(serving, embodied, training)
    )
    sources = [energy.basis(e) for e in (*chosen(m.energy_per_query, of_serving), *trained)]
    fleet = Fleet(
        model=m.model,
        run=m.run,
        runtime=m.runtime,
        batch=m.batch,
        threads=m.threads,
        service_s=_service_interval(service, m),
        devices=devices,
        queries_kwh=_kwh(served_j),
        idle_kwh=_kwh(idle_j),
        kwh=_kwh(used_j),
        idle_missing=tuple(sorted(of_serving - m.idle_power_w.keys())),
        serving_g=serving.interval(),
        embodied_g=embodied.interval(),
        training_g=training.interval(),
        total_g=total.interval(),
        projected_from=energy.weakest(sources),
    )
    return _Planned(fleet, total)


def idle_cost(m: Measurement, components: frozenset[Component]) -> Cost:
    """Watts with the model loaded and nothing to do, of the ``components`` whose idle power is known.

    The random error is Student's over the windows without work, each component's gain that of its queries.
    """
    costs = []
    for component in sorted(components & m.idle_power_w.keys()):
        gain = m.energy_per_query.present[component]
        part = Part(m.idle_power_w[component], gain.systematic, gain.gain_id)
        powers = [
            window.energy.present[component].joules / window.duration_s
            for window in m.idle
            if window.kind == "context" and component in window.energy.present
        ]
        known = stats.t_interval(powers, confidence_of(m.protocol)) if len(powers) > 1 else None
        half = 0.0 if known is None or known.high is None else known.high - known.value
        costs.append(Cost((part,), half))
    return add(costs)


def _erring_together(served: Cost, idle: Cost, by_count: float) -> Cost:
    parts = (*served.parts, *idle.parts)
    if served.random is None:
        return Cost(parts)
    return Cost(parts, served.random + (idle.random or 0.0) + by_count)


def _exact(*costs: Cost) -> Cost:
    """A sum without an interval, for that of the largest part is not known."""
    return Cost(tuple(part for one in costs for part in one.parts))


def _embodied(assumptions: Assumptions, owned: int, spread: float) -> Cost:
    """A year's share of making the devices, whether they work or not."""
    made = assumptions.embodied
    if made is None:
        return NOTHING
    yearly = made.kg * GRAMS_PER_KG / made.lifetime_years
    return Cost((Part(owned * yearly),), spread * yearly)


def _service_interval(service: Service, m: Measurement) -> Interval:
    ends = (None if factor is None else factor * service.mean_s for factor in _quicker_and_slower(m))
    low, high = ends
    return Interval(value=service.mean_s, low=low, high=high)


def _kwh(joules: Cost) -> Interval:
    return scaled(joules, 1 / JOULES_PER_KWH).interval()


def _cheapest(plans: Sequence[_Planned]) -> Best:
    """The least total, and which cannot be told from it, the gains that they share left out."""
    best, *others = plans
    life = Lifetime(NOTHING, best.total)
    tied = [p.fleet for p in others if difference(Lifetime(NOTHING, p.total), life).tied(1.0)]
    return Best(
        model=best.fleet.model,
        runtime=best.fleet.runtime,
        batch=best.fleet.batch,
        tied_with=tuple(fleet.name for fleet in tied),
    )


def _notes(timed: Sequence[tuple[Measured, Service]], demand: Demand) -> list[str]:
    needed = samples_needed(demand.percentile)
    few = [m.measurement for m, service in timed if len(service.times_s) < needed]
    names = dict.fromkeys(f"{m.model} on {m.runtime}" for m in few)
    if not names:
        return []
    return [
        f"Fewer than the {needed} calls that {demand.percentile:g} % need were timed of {', '.join(names)}:"
        " the longest may be missing."
    ]


def _rounded_up(value: float) -> str:
    """Three significant digits that are no less than the value, so that what is advised can be asked for."""
    exponent = math.floor(math.log10(value)) - 2
    return f"{math.ceil(value / 10.0**exponent - 1e-9) * 10.0**exponent:.{max(-exponent, 0)}f}"
