"""Joules into grams, errors and all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ptprof import stats
from ptprof.amortise.lifetime import Cost, Part
from ptprof.energy.combine import random_error
from ptprof.profile.protocol import confidence_of
from ptprof.records import Component, Energy, EnergyBreakdown, Measurement


def chosen(energy: EnergyBreakdown, components: frozenset[Component]) -> list[Energy]:
    """The figures of those components that are there."""
    return [figure for component, figure in energy.present.items() if component in components]


def cost(energies: Sequence[Energy], grams_per_joule: float) -> Cost:
    """What ``energies`` cost together, in grams; their random errors are independent."""
    return Cost(_parts(energies, grams_per_joule), grams_per_joule * _random(energies))


def shared_cost(energies: Sequence[Energy], grams_per_joule: float, name: str) -> Cost:
    """As `cost`, its random error being one that every cost of that ``name`` has in common."""
    return Cost(_parts(energies, grams_per_joule), 0.0, ((name, grams_per_joule * _random(energies)),))


def query_cost(
    m: Measurement, components: frozenset[Component], grams_per_joule: float
) -> tuple[Cost, tuple[float, ...]]:
    """What a query cost, and what it cost in each raw window (g).

    The random error is Student's half-width of the mean over the windows, the components summed within each,
    at the confidence that the measuring protocol's end asks for.
    """
    energies = chosen(m.energy_per_query, components)
    windows = [w for w in m.windows if w.counts and w.calls and components <= w.energy.present.keys()]
    samples = tuple(
        grams_per_joule * sum(w.energy.present[c].joules for c in components) / (w.calls * m.batch)
        for w in windows
    )
    if len(samples) < 2:
        return cost(energies, grams_per_joule), samples
    student = stats.grouped_interval(samples, [w.process for w in windows], confidence_of(m.protocol))
    if student.high is None:
        return cost(energies, grams_per_joule), samples
    return Cost(_parts(energies, grams_per_joule), student.high - student.value), samples


def _parts(energies: Iterable[Energy], grams_per_joule: float) -> tuple[Part, ...]:
    return tuple(Part(e.joules * grams_per_joule, e.systematic, e.gain_id) for e in energies)


def _random(energies: Iterable[Energy]) -> float:
    """The half-width (J) of the random error of a sum: its components err independently."""
    return stats.quadrature(random_error(e) for e in energies)
