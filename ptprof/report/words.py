"""The answer of an amortisation in words."""

from __future__ import annotations

from itertools import groupby

from ptprof.amortise.amortising import AmortiseReport, BreakEvenReport, CheapestReport, ModelReport, envelope
from ptprof.amortise.assumptions import Conversion
from ptprof.amortise.solver import NAME as SOLVER
from ptprof.records import Source
from ptprof.report.format import NONE, count, listed, prefixed


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
    noun = "query" if counts == "1" else "queries"
    sentence = f"At {counts} {noun} {best.model} has the smallest total, {grams}"
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
    stated = report.assumptions
    if stated is None:
        return "Carbon intensity and PUE: as in the source of the table, which gives grams."
    if stated.training == stated.serving:
        return f"Carbon intensity {conversion_of(stated.serving)}."
    training, queries = conversion_of(stated.training), conversion_of(stated.serving)
    return f"Carbon intensity of training {training}; of queries {queries}."


def conversion_of(conversion: Conversion) -> str:
    """One intensity and PUE, and where the intensity is from."""
    rate = f"{conversion.intensity_g_per_kwh:g} gCO2eq/kWh"
    if (grid := conversion.grid) is not None:
        rate += f" ({grid.name} {grid.year}, {grid.kind}; {grid.source})"
    return f"{rate}, PUE {conversion.pue}"


def beside(report: AmortiseReport) -> list[str]:
    """What is paid beside a training and its queries; nothing where nothing is."""
    sentences = []
    kinds = dict.fromkeys((i.what, i.paid, i.source) for m in report.models for i in m.items)
    if once := [f"{what} ({source})" for what, paid, source in kinds if paid == "once"]:
        sentences.append(f"Paid once, whatever the number of queries: {listed(once)}.")
    stated = report.assumptions
    if stated is not None and stated.embodied is not None:
        made = stated.embodied
        sentences.append(
            f"Trainings and queries bear their share of {made.kg:g} kg for making the device, over"
            f" {made.lifetime_years:g} years at {made.utilisation:.0%} use (given)."
        )
    every = report.models[0].lines.retrain_every
    if every is not None:
        sentences.append(
            f"Models are trained anew every {count(every)} queries: totals count every training begun,"
            " break-even points spread each over its queries."
        )
    return sentences


def parity(report: AmortiseReport) -> list[str]:
    """From how many queries on inference outweighs what was paid before."""
    known = [
        f"{model.model} at {count(model.parity_queries.value)}"
        for model in report.models
        if model.parity_queries is not None
    ]
    return [f"Queries have cost as much as training: {', '.join(known)}."] if known else []


def surrogates(report: AmortiseReport) -> list[str]:
    """From how many queries on a model pays against the numerical solver; nothing where it is left out."""
    pairs = (pair for pair in report.break_even if pair.b == SOLVER)
    return [f"{pair.a} pays against simulating {_pays(pair)}." for pair in pairs]


def _pays(pair: BreakEvenReport) -> str:
    """When ``a``, which has to be trained, is the cheaper one."""
    if pair.verdict == "b always cheaper":
        return "never"
    if pair.verdict == "a always cheaper":
        return "at every number of queries"
    unsure = "" if pair.verdict == "crosses" else ", by point values"
    if pair.queries is None:
        gap = pair.difference
        always = gap.once_g + gap.training_g <= 0 and gap.per_query_g < 0
        return f"{'at every number of queries' if always else 'never'}{unsure}"
    between = "" if pair.low is None and pair.high is None else f" ({span(pair.low, pair.high)})"
    side = "from" if pair.cheaper_below == pair.b else "only below"
    return f"{side} {count(pair.queries)} queries{between}{unsure}"


def pareto(report: AmortiseReport) -> list[str]:
    """Which models are worth their carbon by accuracy, at each number of queries."""
    if report.pareto is None:
        return []
    fronts = report.pareto.fronts
    sentences = []
    for names, same in groupby(fronts, key=lambda front: front.front):
        counts = listed(count(front.queries) for front in same)
        sentences.append(
            f"At {counts} queries, {listed(names)} {'is' if len(names) == 1 else 'are'} on the front of"
            f" {report.pareto.metric} against carbon: nothing is surely both cheaper and more accurate."
        )
    without = [model.model for model in report.models if model.error is None]
    if without:
        sentences.append(f"Without that metric, and in no front: {listed(without)}.")
    return sentences


def explained(report: AmortiseReport) -> list[str]:
    """What stands below the answer: how it was obtained, and what a reader must know."""
    return [
        *by_point_values(report),
        *surrogates(report),
        *pareto(report),
        query(report),
        conversion(report),
        *beside(report),
        *parity(report),
        *caveats(report),
    ]


def span(low: float | None, high: float | None) -> str:
    """From where to where two models cannot be told apart."""
    if low is None and high is None:
        return NONE
    start = "0" if low is None else count(low, 3)
    return f"{start} – {'∞' if high is None else count(high, 3)}"


def training_source(model: ModelReport) -> str:
    """Where the cost of training is from, and what that rests on where it was projected."""
    if not model.training_g.value:
        return NONE
    return model.training_source if model.projected is None else f"projected ({model.projected.source})"


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
        given = any(item.what == "embodied" for model in report.models for item in model.items)
        cpu_only = all(model.components == ("cpu",) for model in report.models)
        if sources == {"modelled"} and cpu_only and not given:
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
    return len({part.gain_id for life in lives for c in life.terms for part in c.parts}) == 1


def verdict(report: AmortiseReport, pair: BreakEvenReport) -> str:
    """What is known of a pair, judged by the interval."""
    if pair.verdict == "a always cheaper":
        return f"{pair.a} always cheaper"
    if pair.verdict == "b always cheaper":
        return f"{pair.b} always cheaper"
    if pair.verdict == "crosses":
        above = pair.b if pair.cheaper_below == pair.a else pair.a
        return f"{pair.cheaper_below} below, {above} above"
    gap = pair.difference
    if pair.low is not None:
        below = pair.a if gap.once_g + gap.training_g < 0 else pair.b
        return f"not resolved; {below} surely below {count(pair.low, 3)}"
    if pair.high is not None:
        trainings = 0.0 if gap.retrain_every is None else gap.training_g / gap.retrain_every
        above = pair.a if gap.per_query_g + trainings < 0 else pair.b
        return f"not resolved; {above} surely above {count(pair.high, 3)}"
    return "not resolved"
