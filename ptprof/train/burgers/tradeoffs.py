"""What the sweep says: test error against CO2eq, the Pareto front, and the factor at equal accuracy.

A training may be stopped at the end of any of its stages: what it had cost and reached by then is a result
too. So each model of each seed has a curve, the least CO2eq at which any of its sizes reached an accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ptprof import stats
from ptprof.energy import total
from ptprof.errors import StudyError, UsageError
from ptprof.records import JOULES_PER_KWH, EnergyBreakdown, Environment, Interval, PinnPoint, Value
from ptprof.train.burgers.losses import NN
from ptprof.train.recipe import PINNS, BurgersRecipe, Recipe

PER_DECADE = 10
"""Accuracies at which costs are compared, to a decade of test error."""
PHYSICS = tuple(model for model in PINNS if model != NN)
BEST = "best PINN"


class Training(Value):
    """One training of the sweep as it ended."""

    model: str
    points: int
    seed: int
    steps: int
    evaluations: int
    stopped: str
    loss: float
    test_mse: float
    duration_s: float
    energy: EnergyBreakdown
    co2eq_g: float


class Stop(Value):
    """A model on so many points after so many steps: geometric means over the seeds."""

    model: str
    points: int
    steps: int
    final: bool
    test_mse: Interval
    co2eq_g: Interval
    on_front: bool


class Ratio(Value):
    """How many times the PINN's CO2eq the NN takes to reach ``test_mse``; geometric means over the seeds."""

    test_mse: float
    nn_g: float
    pinn_g: float
    factor: Interval


class Comparison(Value):
    """The NN against one PINN, or against whichever is the cheaper at each accuracy (``best PINN``).

    ``ratios`` are those at every accuracy that both reach by every seed, the finest first; ``largest`` and
    ``smallest`` are the extremes among them, and ``typical`` is their geometric mean. Without an accuracy in
    common they are None.
    """

    pinn: str
    ratios: tuple[Ratio, ...]
    largest: Ratio | None
    smallest: Ratio | None
    typical: Interval | None


class TradeOff(Value):
    """The sweep as one document; intervals are over the seeds, those of energies are the meter's errors."""

    recipe: str
    settings: BurgersRecipe
    sizes: tuple[int, ...]
    seeds: int
    intensity_g_per_kwh: float
    pue: float
    device: str
    energy: EnergyBreakdown
    best_test_mse: dict[str, Interval]
    stops: tuple[Stop, ...]
    comparisons: tuple[Comparison, ...]
    trainings: tuple[Training, ...]
    environment: Environment


class At(NamedTuple):
    """What a training had cost and reached at the end of a stage."""

    grams: float
    test_mse: float


def tradeoff(
    points: Sequence[PinnPoint], recipe: Recipe, *, intensity_g_per_kwh: float = 445.0, pue: float = 1.0
) -> TradeOff:
    """Sum up the points of a sweep.

    Raises
    ------
    UsageError : an intensity or a PUE that cannot be
    StudyError : points without an energy
    """
    if not (0 < intensity_g_per_kwh < math.inf and 1 <= pue < math.inf):
        raise UsageError("the carbon intensity must be above zero gCO2eq/kWh, and the PUE at least 1")
    rate = intensity_g_per_kwh * pue / JOULES_PER_KWH
    courses = {(p.model, p.points, p.seed): _course(p, rate) for p in points}
    seeds = sorted({p.seed for p in points})
    curves = {model: [_curve(courses, model, seed) for seed in seeds] for model in PINNS}
    curves[BEST] = [_front([*a, *b]) for a, b in zip(*(curves[model] for model in PHYSICS), strict=True)]
    best = {
        model: stats.geometric_interval([curve[-1].test_mse for curve in curves[model]]) for model in PINNS
    }
    return TradeOff(
        recipe=recipe.name,
        settings=recipe.burgers,
        sizes=tuple(sorted({p.points for p in points})),
        seeds=len(seeds),
        intensity_g_per_kwh=intensity_g_per_kwh,
        pue=pue,
        device=points[0].device,
        energy=total(p.energy for p in points),
        best_test_mse=best,
        stops=_stops(points, courses),
        comparisons=tuple(compare(name, curves[NN], curves[name]) for name in (BEST, *PHYSICS)),
        trainings=tuple(_training(p, rate) for p in points),
        environment=points[-1].environment,
    )


def compare(name: str, nn: Sequence[Sequence[At]], pinn: Sequence[Sequence[At]]) -> Comparison:
    """The NN's curves, one a seed, against those of a PINN of the same seeds.

    A curve is a front: CO2eq rising, test error falling. The accuracies are the powers of 10^(1/10) between
    the best that every curve reaches and the worst that every curve begins with.
    """
    both = [*nn, *pinn]
    finest, coarsest = max(curve[-1].test_mse for curve in both), min(curve[0].test_mse for curve in both)
    first, last = (math.log10(end) * PER_DECADE for end in (finest, coarsest))
    # The rounding keeps an accuracy that is met exactly.
    exponents = range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)
    accuracies = [10.0 ** (exponent / PER_DECADE) for exponent in exponents]
    costs = [
        [(_cost(a, accuracy), _cost(b, accuracy)) for a, b in zip(nn, pinn, strict=True)]
        for accuracy in accuracies
    ]
    ratios = tuple(
        Ratio(
            test_mse=accuracy,
            nn_g=stats.geometric_interval([a for a, _ in cost]).value,
            pinn_g=stats.geometric_interval([b for _, b in cost]).value,
            factor=stats.geometric_interval([a / b for a, b in cost]),
        )
        for accuracy, cost in zip(accuracies, costs, strict=True)
    )
    if not ratios:
        return Comparison(pinn=name, ratios=(), largest=None, smallest=None, typical=None)
    by_seed = [
        math.exp(math.fsum(math.log(a / b) for a, b in of_seed) / len(of_seed))
        for of_seed in zip(*costs, strict=True)
    ]
    return Comparison(
        pinn=name,
        ratios=ratios,
        largest=max(ratios, key=lambda ratio: ratio.factor.value),
        smallest=min(ratios, key=lambda ratio: ratio.factor.value),
        typical=stats.geometric_interval(by_seed),
    )


def _course(point: PinnPoint, rate: float) -> list[At]:
    """Cost (g) and test error at the end of each stage."""
    joules = [stage.energy.joules for stage in point.stages]
    known = [energy for energy in joules if energy is not None]
    if len(known) < len(joules):
        raise StudyError(f"{point.run} has no energy, so there is no CO2eq: {point.energy.missing}")
    return [At(j * rate, s.test_mse) for j, s in zip(accumulate(known), point.stages, strict=True)]


def _curve(courses: dict[tuple[str, int, int], list[At]], model: str, seed: int) -> list[At]:
    """The front of one model and seed, over all sizes and stages."""
    chosen = [course for (name, _, drawn), course in courses.items() if (name, drawn) == (model, seed)]
    return _front([at for course in chosen for at in course])


def _front(course: Sequence[At]) -> list[At]:
    return [course[index] for index in stats.pareto_front(course)]


def _cost(curve: Sequence[At], accuracy: float) -> float:
    """The least CO2eq (g) at which ``curve`` is as accurate; it is, up to rounding."""
    return next(at.grams for at in curve if at.test_mse <= accuracy * (1 + 1e-12))


def _stops(points: Sequence[PinnPoint], courses: dict[tuple[str, int, int], list[At]]) -> tuple[Stop, ...]:
    """Every stop that all seeds came to."""
    groups: dict[tuple[str, int], list[PinnPoint]] = {}
    for point in points:
        groups.setdefault((point.model, point.points), []).append(point)
    made = []
    for (model, count), group in groups.items():
        of_seeds = [courses[model, count, point.seed] for point in group]
        length = min(map(len, of_seeds))
        for index in range(length):
            ats = [course[index] for course in of_seeds]
            made.append(
                Stop(
                    model=model,
                    points=count,
                    steps=group[0].stages[index].steps,
                    final=index == length - 1,
                    test_mse=stats.geometric_interval([at.test_mse for at in ats]),
                    co2eq_g=stats.geometric_interval([at.grams for at in ats]),
                    on_front=False,
                )
            )
    front = set(stats.pareto_front([(stop.co2eq_g.value, stop.test_mse.value) for stop in made]))
    return tuple(stop.model_copy(update={"on_front": index in front}) for index, stop in enumerate(made))


def _training(point: PinnPoint, rate: float) -> Training:
    joules = point.energy.joules
    if joules is None:
        raise StudyError(f"{point.run} has no energy, so there is no CO2eq: {point.energy.missing}")
    kept = {name: getattr(point, name) for name in Training.model_fields if name != "co2eq_g"}
    return Training(**kept, co2eq_g=joules * rate)
