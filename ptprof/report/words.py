"""The answer of an amortisation in words."""

from __future__ import annotations

from itertools import groupby

from ptprof.profile.amortise import AmortiseReport, BreakEvenReport, CheapestReport, ModelReport, envelope
from ptprof.records import Source
from ptprof.report.format import count, listed, prefixed


def answer(report: AmortiseReport) -> list[str]:
    """Which model has the smallest total at each number of queries, and who cannot be told from it."""
    if len(report.models) == 1:
        return [f"Only {report.models[0].model} is known: there is nothing to compare it with."]
    runs = [list(same) for _, same in groupby(report.cheapest, key=lambda c: (c.model, c.tied_with))]
    return [_at(report, same) for same in runs]


def _at(report: AmortiseReport, same: list[CheapestReport]) -> str:
    best = next(model for model in report.models if model.model == same[0].model)
    totals = {total.queries: total for total in best.totals}
    counts = listed(count(c.queries) for c in same)
    grams = listed(prefixed(totals[c.queries].total_g, "g") for c in same)
    sentence = f"At {counts} queries {best.model} has the smallest total, {grams}"
    if not same[0].tied_with:
        return f"{sentence}."
    return f"{sentence}, but {listed(same[0].tied_with)} cannot be told apart from it."


def by_point_values(report: AmortiseReport) -> list[str]:
    """The cheapest model over all numbers of queries, intervals left aside; nothing of one model alone."""
    pieces = envelope(report.costs)
    if len(report.models) == 1:
        return []
    if len(pieces) == 1:
        return [f"By point values {pieces[0][1]} is the cheapest at every number of queries."]
    first, *others = pieces
    steps = listed(f"{name} from {count(start)} queries" for start, name in others)
    return [f"By point values {first[1]} is the cheapest at first, then {steps}."]


def query(report: AmortiseReport) -> str:
    """What a query is, where it ran and which energy counts; the same for every model."""
    what = "one step" if report.unit == "one-step" else f"a {report.unit}"
    first = report.models[0]
    if first.device is None or first.components is None:
        return f"A query is {what}."
    return (
        f"A query is {what} on {first.device} at batch {first.batch}; energy of {'+'.join(first.components)}."
    )


def conversion(report: AmortiseReport) -> str:
    """How joules became grams."""
    if report.intensity_g_per_kwh is None or report.pue is None:
        return "Carbon intensity and PUE: as in the source of the table, which gives grams."
    return f"Carbon intensity {report.intensity_g_per_kwh:g} gCO2eq/kWh, PUE {report.pue}."


def projections(report: AmortiseReport) -> list[str]:
    """Whose training was not paid but projected, from what and how far; nothing where all were trained."""
    sentences = []
    for model in report.models:
        if (made := model.projected) is not None:
            known = "its error unknown" if made.half_width is None else f"± {made.half_width:.1%}"
            missed = "" if made.converged else ", 2 % not reached"
            steps = "1 step" if made.steps == 1 else f"{made.steps} steps"
            sentences.append(
                f"The training cost of {model.model} is projected from {steps} ({known}{missed})"
                f" to {count(made.epochs)} epoch{'s' * (made.epochs != 1)}."
            )
    if sentences:
        sentences.append("What is projected was not trained: nothing is said of its accuracy.")
    return sentences


def _training_source(model: ModelReport) -> Source:
    """What the cost of training rests on."""
    return model.training_source if model.projected is None else model.projected.source


def caveats(report: AmortiseReport) -> list[str]:
    """What a reader must know to read the figures right."""
    notes = [*projections(report), *report.costs.notes]
    sources = {model.source for model in report.models} | {_training_source(model) for model in report.models}
    if "modelled" in sources:
        if sources == {"modelled"} and all(model.components == ("cpu",) for model in report.models):
            notes.append(
                "Energy is modelled (CPU seconds × watts per core): the answer is CPU time in other words."
            )
            if _one_gain(report):
                notes.append("The error of that model scales all alike and leaves the comparison as it is.")
        else:
            notes.append("Figures marked modelled hold a share of CPU seconds × watts per core.")
    exact = [model.model for model in report.models if model.training_g.low is None]
    if exact:
        who = (
            "Training costs" if len(exact) == len(report.models) else f"The training costs of {listed(exact)}"
        )
        notes.append(f"{who} come without an interval and count as exact.")
    bare = [model.model for model in report.models if model.per_query_g.low is None]
    if bare and len(bare) == len(report.models):
        notes.append("No cost per query has an interval: every verdict is the point value's.")
    elif bare:
        notes.append(f"The costs per query of {listed(bare)} come without an interval.")
    return notes


def _one_gain(report: AmortiseReport) -> bool:
    lives = [candidate.lifetime for candidate in report.costs.candidates]
    return (
        len({part.gain_id for life in lives for c in (life.training, life.per_query) for part in c.parts})
        == 1
    )


def verdict(report: AmortiseReport, pair: BreakEvenReport) -> str:
    """What is known of a pair, judged by the interval."""
    if pair.verdict == "a always cheaper":
        return f"{pair.a} always cheaper"
    if pair.verdict == "b always cheaper":
        return f"{pair.b} always cheaper"
    if pair.verdict == "crosses":
        above = pair.b if pair.cheaper_below == pair.a else pair.a
        return f"{pair.cheaper_below} below, {above} above"
    lines = {model.model: model for model in report.models}
    a, b = lines[pair.a], lines[pair.b]
    if pair.low is not None:
        below = a if a.training_g.value < b.training_g.value else b
        return f"not resolved; {below.model} surely below {count(pair.low, 3)}"
    if pair.high is not None:
        above = pair.a if a.per_query_g.value < b.per_query_g.value else pair.b
        return f"not resolved; {above} surely above {count(pair.high, 3)}"
    return "not resolved"
