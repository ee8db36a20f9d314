"""Who is cheaper and who faster, as tables: the places that each may have, and every pair at a glance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ptprof.amortise.comparison import Comparison, Contest, Entrant, Pair, Places
from ptprof.report.format import NONE, interval
from ptprof.report.style import paragraph, row, table

#: How a pair is shown in the row of the one against the column of the other.
_SIGNS = {"cheaper": "<", "faster": "<", "dearer": ">", "slower": ">", "undecided": "?"}
_MIRRORED = {"<": ">", ">": "<", "?": "?"}


NOTE = (
    "< cheaper or faster than the one of that number, > dearer or slower, ? undecided: intervals overlap.",
    "place: after all that surely go before, and before the rest. ± is 95 %; the error of a gain that scales",
    "all alike is in it, and is left out of the verdicts.",
)


def comparison(found: Comparison) -> RenderableType:
    """For each contest a table by energy and one by latency, the best first."""
    tables = [
        each
        for contest in found.contests
        for each in (Text(_title(contest), "bold underline"), _by_energy(contest), _by_latency(contest))
    ]
    return Group(*tables, paragraph(NOTE))


def _by_energy(contest: Contest) -> Table:
    known = [entrant for entrant in contest.entrants if entrant.energy_j is not None]
    return _ranking(
        f"Energy per query ({'+'.join(contest.components) or 'no component in common'})",
        "energy",
        known,
        [NONE if entrant.energy_j is None else interval(entrant.energy_j, "J") for entrant in known],
        [entrant.energy_places for entrant in known],
        _signs(contest.pairs, lambda pair: pair.energy),
    )


def _by_latency(contest: Contest) -> Table:
    order = sorted(contest.entrants, key=lambda entrant: entrant.latency_s.value)
    return _ranking(
        "Latency",
        "latency",
        order,
        [interval(entrant.latency_s, "s") for entrant in order],
        [entrant.latency_places for entrant in order],
        _signs(contest.pairs, lambda pair: pair.latency),
    )


def _ranking(
    title: str,
    what: str,
    order: Sequence[Entrant],
    figures: Sequence[str],
    places: Sequence[Places | None],
    signs: Mapping[tuple[str, str], str],
) -> Table:
    made = table(title, ("place", "model", "runtime"), (what, "number"))
    made.add_column("".join(str(number % 10) for number in range(1, len(order) + 1)), no_wrap=True)
    for number, entrant in enumerate(order, 1):
        row(
            made,
            _places(places[number - 1]),
            entrant.model,
            " ".join(part for part in (entrant.runtime, _variant(entrant)) if part),
            figures[number - 1],
            f"{number}",
            "".join(signs.get((entrant.name, other.name), "·") for other in order),
        )
    return made


def _title(contest: Contest) -> str:
    what = {
        "one-step": "One step",
        "rollout": f"Rollout of {contest.steps} steps",
        "cold-start": "Cold start",
        "load": "One step under load",
    }[contest.scenario]
    rate = "" if contest.rate_per_s is None else f", {contest.rate_per_s:g} calls/s"
    grid = "" if contest.grid is None else f", {contest.grid[0]}×{contest.grid[1]}"
    threads = "" if contest.threads is None else f" ({contest.threads} threads)"
    return f"{what}{rate}, batch {contest.batch}{grid}, {contest.device}{threads}"


def _variant(entrant: Entrant) -> str:
    return " ".join(
        part for part in ("" if entrant.precision == "fp32" else entrant.precision, entrant.variant) if part
    )


def _places(places: Places | None) -> str:
    if places is None:
        return NONE
    return f"{places.first}" if places.first == places.last else f"{places.first}–{places.last}"


def _signs(pairs: Sequence[Pair], verdict: Callable[[Pair], str]) -> dict[tuple[str, str], str]:
    signs: dict[tuple[str, str], str] = {}
    for pair in pairs:
        sign = _SIGNS[verdict(pair)]
        signs[pair.a, pair.b] = sign
        signs[pair.b, pair.a] = _MIRRORED[sign]
    return signs
