"""What is paid beside one training and its queries: data, tuning, cold starts, the making of the device."""

from __future__ import annotations

from ptprof.amortise.assumptions import Assumptions, Conversion, Embodied
from ptprof.amortise.candidate import Item, Paid
from ptprof.amortise.components import Compared, Phase
from ptprof.amortise.grams import chosen, cost, shared_cost
from ptprof.amortise.lifetime import Cost, Part, scaled
from ptprof.amortise.selection import Measured
from ptprof.energy import combine as energy
from ptprof.errors import StudyError
from ptprof.records import GenerationRecord, Source
from ptprof.study import Study

DATA = "data generation"
"""The name of the error that all that rests on one simulation of the data has in common."""


def data_generation(made: GenerationRecord, parts: Compared, conversion: Conversion) -> Paid:
    """What simulating the training data cost: once, in full for each model, since each needs all of it."""
    energies = chosen(made.energy, parts.of_once(made.energy))
    if not energies:
        raise StudyError("the energy of generating the data is not known: run `ptprof data generate --force`")
    grams = shared_cost(energies, conversion.grams_per_joule, DATA)
    return Paid(grams, Item(what=DATA, paid="once", grams=grams.grams, source=energy.add(energies).source))


def tuning_phases(study: Study, measured: Measured, assumptions: Assumptions) -> list[Phase]:
    """The trainings that count as tuning: the study's other runs of that model, whatever their recipe."""
    if assumptions.tuning != "runs":
        return []
    run = measured.run
    others = [other for other in study.runs(run.model) if other.run != run.run]
    return [Phase(f"the training of {other.run}", other.device, other.energy) for other in others]


def tuning(
    study: Study, measured: Measured, training: Cost, parts: Compared, assumptions: Assumptions
) -> Paid:
    """What finding the settings of the training cost, once: so many trainings, or the runs that there are."""
    source: Source = "assumed"
    if isinstance(assumptions.tuning, float):
        grams = scaled(training, assumptions.tuning)
    else:
        phases = tuning_phases(study, measured, assumptions)
        energies = [figure for phase in phases for figure in chosen(phase.energy, parts.training)]
        grams = cost(energies, assumptions.training.grams_per_joule)
        source = energy.add(energies).source if energies else "measured"
    return Paid(grams, Item(what="tuning", paid="once", grams=grams.grams, source=source))


def cold_starts(measured: Measured, parts: Compared, assumptions: Assumptions) -> Paid:
    """What starting the server cost, over the whole life.

    Raises
    ------
    StudyError : the start was not measured, or lacks a component of the queries
    """
    m, start = measured.measurement, measured.cold_start
    if start is None or not parts.serving <= start.energy_per_query.present.keys():
        raise StudyError(
            f"the cold start of {m.run} on {m.runtime} and {m.device} is not measured: run"
            f" `ptprof profile {m.model} --scenario cold-start --runtime {m.runtime} --device {m.device}`"
        )
    energies = chosen(start.energy_per_query, parts.serving)
    grams = scaled(cost(energies, assumptions.serving.grams_per_joule), assumptions.cold_starts)
    source = energy.add(energies).source
    return Paid(grams, Item(what="cold starts", paid="once", grams=grams.grams, source=source))


def embodied(made: Embodied, seconds: float) -> Cost:
    """The share of making the device that falls on so many busy seconds; it counts as exact."""
    return Cost((Part(made.grams_per_second * seconds),), 0.0)
