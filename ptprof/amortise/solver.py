"""The numerical solver as a candidate: it needs no training, and every query costs what simulating takes.

Its energy is that of `ptprof data generate`, per second of the flow: many trajectories side by side, writing
them included, at the accuracy that the data have. It is what the models' errors are measured against, so that
its own is zero.
"""

from __future__ import annotations

from ptprof.amortise.assumptions import Assumptions
from ptprof.amortise.candidate import Candidate, Item
from ptprof.amortise.components import Compared, Phase
from ptprof.amortise.extras import DATA, embodied
from ptprof.amortise.grams import chosen, shared_cost
from ptprof.amortise.lifetime import NOTHING, Lifetime, add, scaled
from ptprof.energy import combine as energy
from ptprof.records import GenerationRecord, Interval

NAME = "solver"


def phase(made: GenerationRecord) -> Phase:
    """The solver's work as a phase whose components are compared."""
    return Phase("the solver", made.device, made.energy)


def candidate(
    made: GenerationRecord, parts: Compared, assumptions: Assumptions, query_s: float, with_error: bool
) -> Candidate:
    """The solver, answering queries that are ``query_s`` seconds of the flow each."""
    share = query_s / made.simulated_s
    energies = chosen(made.energy, parts.serving)
    source = energy.add(energies).source
    query = scaled(shared_cost(energies, assumptions.serving.grams_per_joule, DATA), share)
    items = [Item(what="query", paid="query", grams=query.grams, source=source)]
    per_query = query
    if assumptions.embodied is not None:
        device = embodied(assumptions.embodied, made.duration_s * share)
        items.append(Item(what="embodied", paid="query", grams=device.grams, source="given"))
        per_query = add([query, device])
    return Candidate(
        model=NAME,
        lifetime=Lifetime(NOTHING, per_query, retrain_every=assumptions.retrain_every),
        source=source,
        training_source=source,
        device=made.device,
        components=parts.all,
        items=tuple(items),
        error=Interval(value=0.0) if with_error else None,
    )
