"""What trainings would cost: the figures of `ptprof train --estimate`, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType

from ptprof.amortise.costs import INTENSITY_G_PER_KWH, PUE, cost, grams_per_joule
from ptprof.energy.combine import basis, weakest
from ptprof.records import Component, EstimateRecord, Interval, Source, Value
from ptprof.report.format import NONE, duration, interval, listed, seconds
from ptprof.report.style import paragraph, row, table

HOUR_S = 3600.0


class Costs(Value):
    """Energy, carbon and time; the first two are None where no energy is known."""

    energy_j: Interval | None
    co2eq_g: Interval | None
    hours: Interval


class ModelEstimate(Value):
    """One model: the mean epoch, all ``epochs``, and what that was projected from.

    ``half_width`` is that of an epoch's cost, relative, at 95 %, gain errors aside; the intervals of the
    costs hold those too. ``projected_from`` is the source of the energy of the steps, None where there is
    none and ``missing`` says why.
    """

    model: str
    run: str
    recipe: str
    device: str
    source: Source = "projected"
    projected_from: Source | None
    components: tuple[Component, ...]
    missing: dict[str, str]
    epochs: int
    per_epoch: Costs
    total: Costs
    half_width: float | None
    converged: bool
    sampled_steps: int
    sampled_s: float
    synthetic_data: bool
    flags: tuple[str, ...]


class EstimateReport(Value):
    """What `ptprof train --estimate` answers; dumped, it is the document of ``--json``."""

    intensity_g_per_kwh: float
    pue: float
    models: tuple[ModelEstimate, ...]


def estimate_report(
    records: Iterable[EstimateRecord], *, intensity_g_per_kwh: float = INTENSITY_G_PER_KWH, pue: float = PUE
) -> EstimateReport:
    """The report on ``records``, energy being the sum of the components present.

    Raises
    ------
    UsageError : an intensity or PUE that cannot be
    """
    grams = grams_per_joule(intensity_g_per_kwh, pue)
    return EstimateReport(
        intensity_g_per_kwh=intensity_g_per_kwh, pue=pue, models=tuple(_model(r, grams) for r in records)
    )


def estimates(report: EstimateReport) -> RenderableType:
    """The mean epoch and all epochs of each model, and how well they are known."""
    recipes = listed(dict.fromkeys(m.recipe for m in report.models))
    parts: list[RenderableType] = [paragraph([_known(m) for m in report.models])]
    parts.append(_table(f"One epoch of recipe {recipes}", [(m, m.per_epoch) for m in report.models]))
    for epochs in dict.fromkeys(m.epochs for m in report.models if m.epochs > 1):
        chosen = [(m, m.total) for m in report.models if m.epochs == epochs]
        parts.append(_table(f"Training by recipe {recipes}, projected to {epochs} epochs", chosen))
    notes: dict[str, list[str]] = {}
    for m in report.models:
        for flag in m.flags:
            notes.setdefault(flag, []).append(m.model)
    everyone = len(report.models)
    said = [
        f"{flag[0].upper()}{flag[1:]}." if len(who) == everyone else f"{listed(who)}: {flag}."
        for flag, who in notes.items()
    ]
    if any(m.projected_from == "modelled" for m in report.models):
        said.append("From modelled: CPU seconds × watts per core, so the energy is CPU time in other words.")
    grid = f"Carbon intensity {report.intensity_g_per_kwh:g} gCO2eq/kWh, PUE {report.pue}."
    parts.append(paragraph([*said, grid]))
    return Group(*parts)


def _model(record: EstimateRecord, grams: float) -> ModelEstimate:
    energies = list(record.energy.present.values())
    return ModelEstimate(
        model=record.model,
        run=record.run,
        recipe=record.recipe,
        device=record.device,
        projected_from=weakest(map(basis, energies)) if energies else None,
        components=tuple(record.energy.present),
        missing=record.energy.missing,
        epochs=record.epochs,
        per_epoch=_costs(record, grams, record.epochs),
        total=_costs(record, grams, 1),
        half_width=record.half_width,
        converged=record.converged,
        sampled_steps=record.sampled_steps,
        sampled_s=record.sampled_s,
        synthetic_data=record.synthetic_data,
        flags=record.flags,
    )


def _costs(record: EstimateRecord, grams: float, share: int) -> Costs:
    """One of ``share`` equal shares of the training."""
    energies = list(record.energy.present.values())
    return Costs(
        energy_j=cost(energies, 1 / share).interval() if energies else None,
        co2eq_g=cost(energies, grams / share).interval() if energies else None,
        hours=_scaled(record.duration_interval_s, 1 / share / HOUR_S),
    )


def _scaled(figure: Interval, factor: float) -> Interval:
    low, high = (None if end is None else end * factor for end in (figure.low, figure.high))
    return Interval(value=figure.value * factor, low=low, high=high)


def _known(m: ModelEstimate) -> str:
    after = f"after {m.sampled_steps} step{'s' * (m.sampled_steps != 1)} and {seconds(m.sampled_s)}."
    if m.half_width is None:
        return f"{m.model}: how well the cost of an epoch is known cannot be told {after}"
    return f"{m.model}: the cost of an epoch is known to ± {m.half_width:.1%} {after}"


def _table(title: str, rows: Sequence[tuple[ModelEstimate, Costs]]) -> RenderableType:
    made = table(title, ("model",), ("energy", "CO2eq", "time", "source"))
    for m, costs in rows:
        row(
            made,
            m.model,
            NONE if costs.energy_j is None else interval(costs.energy_j, "J"),
            NONE if costs.co2eq_g is None else interval(costs.co2eq_g, "g"),
            duration(_scaled(costs.hours, HOUR_S)),
            NONE if m.projected_from is None else f"projected from {m.projected_from}",
        )
    return made
