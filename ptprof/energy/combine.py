"""Arithmetic on energies: sums over boards and over time, and shares of them.

Figures of one gain err together: their systematic errors add up. Everything else is independent and adds
in quadrature.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ptprof.errors import EnergyError
from ptprof.records import COMPONENTS, Component, Energy, EnergyBreakdown, Source

#: From what is known best to what is only said.
_SOURCES: tuple[Source, ...] = ("measured", "modelled", "assumed", "projected", "given")


def energy(
    joules: float,
    random: float,
    *,
    systematic: float,
    gain_id: str,
    source: Source,
    sensor: str,
    projected_from: Source | None = None,
    flags: tuple[str, ...] = (),
    active_joules: float | None = None,
) -> Energy:
    """An energy from its two errors: ``random`` in J, ``systematic`` relative to ``joules``, each at 95 %."""
    half = math.hypot(random, systematic * joules)
    return Energy(
        joules=joules,
        low=max(joules - half, 0.0),
        high=joules + half,
        systematic=systematic,
        gain_id=gain_id,
        active_joules=active_joules,
        source=source,
        sensor=sensor,
        projected_from=projected_from,
        flags=flags,
    )


def weakest(sources: Iterable[Source]) -> Source:
    """The source that is known least well: that of a sum."""
    return max(sources, key=_SOURCES.index)


def basis(figure: Energy) -> Source:
    """What a figure rests on: its source, or that of what it was projected from."""
    return figure.projected_from or figure.source


def random_error(figure: Energy) -> float:
    """Half-width (J) of what is left of the interval without the systematic error, in quadrature."""
    half = max(figure.high - figure.joules, figure.joules - figure.low)
    systematic = figure.systematic * figure.joules
    # The record's own rounding must not come out as an error of its own.
    return math.sqrt(half**2 - systematic**2) if half > systematic * (1 + 1e-9) else 0.0


def add(figures: Iterable[Energy]) -> Energy:
    """The sum of energies: boards side by side, or windows one after the other.

    Several gains in one sum are independent: the sum's ``systematic`` is their root of squares, and its
    ``gain_id`` names them all. ``active_joules`` is there where every figure has it; the source is the
    weakest one, and what a projected sum was projected from the weakest of what its figures rest on.

    Raises
    ------
    EnergyError : nothing to add
    """
    parts = list(figures)
    if not parts:
        raise EnergyError("there is no energy to add up")
    joules = math.fsum(part.joules for part in parts)
    gains: dict[str, float] = {}
    for part in parts:
        gains[part.gain_id] = gains.get(part.gain_id, 0.0) + part.systematic * part.joules
    active = [part.active_joules for part in parts]
    source = weakest(part.source for part in parts)
    return energy(
        joules,
        math.hypot(*map(random_error, parts)),
        systematic=math.hypot(*gains.values()) / joules if joules else max(p.systematic for p in parts),
        gain_id="+".join(sorted(gains)),
        source=source,
        sensor=" + ".join(dict.fromkeys(part.sensor for part in parts)),
        projected_from=weakest(map(basis, parts)) if source == "projected" else None,
        flags=tuple(dict.fromkeys(flag for part in parts for flag in part.flags)),
        active_joules=None if None in active else math.fsum(a for a in active if a is not None),
    )


def total(breakdowns: Iterable[EnergyBreakdown]) -> EnergyBreakdown:
    """The energy of successive windows; a component that one of them lacks is missing, and says so."""
    windows = list(breakdowns)
    sums: dict[Component, Energy] = {}
    missing: dict[str, str] = {}
    for component in COMPONENTS:
        present = [e for window in windows if (e := window.present.get(component)) is not None]
        if windows and len(present) == len(windows):
            sums[component] = add(present)
        else:
            missing[component] = _why(component, windows)
    return EnergyBreakdown(**sums, missing=missing)


def per(figure: Energy, count: int) -> Energy:
    """The share of one in ``count`` equal ones."""
    active = figure.active_joules
    return figure.model_copy(
        update={
            "joules": figure.joules / count,
            "low": figure.low / count,
            "high": figure.high / count,
            "active_joules": None if active is None else active / count,
        }
    )


def _why(component: Component, windows: Sequence[EnergyBreakdown]) -> str:
    lacking = [window for window in windows if component not in window.present]
    if not lacking:
        return "no window was metered"
    reason = lacking[0].missing.get(component, "not measured")
    return reason if len(lacking) == len(windows) else f"{len(lacking)} of {len(windows)} windows: {reason}"
