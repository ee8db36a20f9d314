"""Which of the candidates that were measured are cheaper and which faster, where that can be said at all.

Two candidates are ranked where their intervals do not overlap. What scales both alike, such as the gain of
the board that metered them, widens neither: it is left out of an interval where it cannot change the order.
Intervals are not taken in quadrature here, which makes the verdict more careful than that of an amortisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Literal

from ptprof.amortise.grams import query_cost
from ptprof.amortise.lifetime import NOTHING, Cost, Lifetime, difference
from ptprof.records import COMPONENTS, Component, Interval, Measurement, Model, Value
from ptprof.stats import quadrature

ByEnergy = Literal["cheaper", "dearer", "undecided"]
ByLatency = Literal["faster", "slower", "undecided"]
Key = tuple[str | float | None, ...]

#: Of two measurements of one thing, the one by the later protocol here counts, then the newer one.
_PROTOCOLS = ("quick", "full")


class Places(Value):
    """The places that a candidate may have: after all that surely go before it, and before the rest."""

    first: int
    last: int


class Entrant(Value):
    """A candidate and what a query takes: joules of the components that all have, and seconds.

    ``energy_j`` and its places are None where there is no such figure.
    """

    name: str
    run: str
    model: str
    runtime: str
    precision: str
    variant: str
    protocol: str
    converged: bool
    energy_j: Interval | None
    energy_places: Places | None
    latency_s: Interval
    latency_places: Places


class Pair(Value):
    """What ``a`` is against ``b``."""

    a: str
    b: str
    energy: ByEnergy
    latency: ByLatency


class Contest(Value):
    """Candidates that answer the same query on the same device, the cheapest first.

    ``components`` are those that the energies are sums of.
    """

    scenario: str
    steps: int
    batch: int
    rate_per_s: float | None
    device: str
    device_id: str
    grid: tuple[int, int] | None
    threads: int | None
    components: tuple[Component, ...]
    entrants: tuple[Entrant, ...]
    pairs: tuple[Pair, ...]


class Comparison(Value):
    """Every contest that a study's measurements make."""

    contests: tuple[Contest, ...]


def compare(measurements: Iterable[Measurement], runs: Sequence[Model]) -> Comparison:
    """Compare the newest measurement of each candidate of ``runs``, a measurement by the full protocol going
    first.

    What was measured before its run was trained anew, or by the paper's protocol, is left out.
    """
    trained = {run.run: run.created for run in runs}
    current = [
        m for m in measurements if m.protocol in _PROTOCOLS and m.created >= trained.get(m.run, "\U0010ffff")
    ]
    ranked = sorted(current, key=lambda m: (_PROTOCOLS.index(m.protocol), m.created))
    newest = {(_question(m), _name(m)): m for m in ranked}
    contests: dict[Key, list[Measurement]] = {}
    for (question, _), m in newest.items():
        contests.setdefault(question, []).append(m)
    return Comparison(contests=tuple(_contest(group) for _, group in sorted(contests.items(), key=_order)))


def energy_verdict(a: Cost | None, b: Cost | None) -> ByEnergy:
    """What ``a`` (J) is against ``b``: undecided where their intervals overlap, or where one has none.

    An interval here is a candidate's own random error, and the error of each gain: what it adds to the
    difference of the two, once the least relative error that one gain brings to all of both is left out, for
    that changes the size of a difference and never its sign.
    """
    if a is None or b is None or a.random is None or b.random is None:
        return "undecided"
    gap = difference(Lifetime(NOTHING, a), Lifetime(NOTHING, b))
    if gap.errors is None or abs(gap.per_query) <= math.fsum(abs(error.per_query) for error in gap.errors):
        return "undecided"
    return "cheaper" if gap.per_query < 0 else "dearer"


def latency_verdict(a: Interval, b: Interval) -> ByLatency:
    """What ``a`` is against ``b``: undecided where their intervals overlap, or where one has none."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return "undecided"
    if a.high < b.low:
        return "faster"
    return "slower" if b.high < a.low else "undecided"


def energy_cost(m: Measurement, components: Sequence[Component]) -> Cost | None:
    """A query's joules in ``components``, the random error from raw windows; None where one is missing."""
    if not components or not set(components) <= m.energy_per_query.present.keys():
        return None
    cost, samples = query_cost(m, frozenset(components), grams_per_joule=1.0)
    return cost if len(samples) > 1 else Cost(cost.parts)


def _contest(group: Sequence[Measurement]) -> Contest:
    components = _components(group)
    costs = {_name(m): energy_cost(m, components) for m in group}
    times = {_name(m): m.latency_s for m in group}
    order = sorted(group, key=lambda m: (_joules(costs[_name(m)]), times[_name(m)].value))
    names = [_name(m) for m in order]
    pairs = [
        Pair(
            a=a,
            b=b,
            energy=energy_verdict(costs[a], costs[b]),
            latency=latency_verdict(times[a], times[b]),
        )
        for a, b in combinations(names, 2)
    ]
    with_energy = [name for name in names if costs[name] is not None]
    by_energy = _places(with_energy, lambda a, b: energy_verdict(costs[a], costs[b]) == "cheaper")
    by_latency = _places(names, lambda a, b: latency_verdict(times[a], times[b]) == "faster")
    first = group[0]
    return Contest(
        scenario=first.scenario,
        steps=first.steps,
        batch=first.batch,
        rate_per_s=None if first.load is None else first.load.rate_per_s,
        device=first.device,
        device_id=first.device_id,
        grid=first.grid,
        threads=first.threads,
        components=components,
        entrants=tuple(
            Entrant(
                name=name,
                run=m.run,
                model=m.model,
                runtime=m.runtime,
                precision=m.precision,
                variant=m.variant,
                protocol=m.protocol,
                converged=m.converged,
                energy_j=_interval(costs[name]),
                energy_places=by_energy.get(name),
                latency_s=times[name],
                latency_places=by_latency[name],
            )
            for name, m in zip(names, order, strict=True)
        ),
        pairs=tuple(pairs),
    )


def _places(names: Sequence[str], before: Callable[[str, str], bool]) -> dict[str, Places]:
    """The places of each, by who surely goes before whom."""
    return {
        name: Places(
            first=1 + sum(before(other, name) for other in names),
            last=len(names) - sum(before(name, other) for other in names),
        )
        for name in names
    }


def _components(group: Sequence[Measurement]) -> tuple[Component, ...]:
    """What the energies are summed over: what all have, a GPU that does the work always."""
    on_board = group[0].device.startswith("cuda")
    known = [m.energy_per_query.present.keys() for m in group if m.energy_per_query.present]
    known = [present for present in known if not on_board or "gpu" in present]
    return tuple(c for c in COMPONENTS if known and all(c in present for present in known))


def _interval(cost: Cost | None) -> Interval | None:
    """Joules with the whole interval, gains and all."""
    if cost is None:
        return None
    if cost.random is None:
        return Interval(value=cost.grams)
    half = quadrature([cost.random, *cost.gains.values()])
    return Interval(value=cost.grams, low=max(cost.grams - half, 0.0), high=cost.grams + half)


def _joules(cost: Cost | None) -> float:
    return math.inf if cost is None else cost.grams


def _question(m: Measurement) -> Key:
    """What must be the same for an answer to be compared: the query, and where it was answered."""
    rate = None if m.load is None else m.load.rate_per_s
    return (*(m.grid or ()), m.device, m.device_id, m.scenario, m.steps, m.batch, rate, m.threads)


def _order(contest: tuple[Key, Sequence[Measurement]]) -> tuple[str, ...]:
    return tuple("" if part is None else f"{part:>12}" for part in contest[0])


def _name(m: Measurement) -> str:
    """How a candidate is called: its run's model, and what makes it another one."""
    words = [m.model, m.runtime, "" if m.precision == "fp32" else m.precision, m.variant]
    return " ".join(word for word in words if word)
