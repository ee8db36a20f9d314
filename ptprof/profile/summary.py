"""From raw windows to the figures of a measurement."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ptprof import stats
from ptprof.energy.combine import energy
from ptprof.profile import foreign
from ptprof.profile.bench import Info, Prepared
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.scenarios import Scenario
from ptprof.records import (
    COMPONENTS,
    Component,
    Energy,
    EnergyBreakdown,
    EstimateRecord,
    Measurement,
    ModelRecord,
    Window,
)
from ptprof.study import now

MEMORY_UNKNOWN = "peak memory unknown"
UNTRAINED = "untrained weights: the cost is the model's, the forecast is not"
NO_IDLE = "no idle share: the model knows none"


Key = tuple[str, str, str, Scenario, str, str]
"""Run, runtime, device, scenario, hash and variant."""


@dataclass(frozen=True)
class Subject:
    """What is measured: a run on a runtime and device; ``sha256`` is its file's, or its checkpoint's."""

    run: ModelRecord
    runtime: str
    device: str
    scenario: Scenario
    sha256: str
    variant: str = ""

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.run.run, self.runtime, self.device, self.scenario, self.sha256, self.variant


def summarise(
    subject: Subject,
    protocol: MeasuringProtocol,
    prepared: Prepared,
    info: Info,
    series: Sequence[Window],
    idle: Sequence[tuple[float, EnergyBreakdown]],
) -> Measurement:
    """The measurement that a series of windows amounts to.

    Latency is the median over all calls with its order-statistic interval; throughput and energy are means
    over windows with Student's. ``idle`` holds the length (s) and energy of windows without work.
    """
    goal = protocol.goal()
    goal.initialize()
    for window in series:
        goal.add_measurement(window)
    run, scenario = subject.run, subject.scenario
    idle_power_w = _idle_power_w(idle)
    latencies = list(itertools.chain.from_iterable(window.latencies_s for window in series))
    return Measurement(
        run=run.run,
        model=run.model,
        runtime=subject.runtime,
        provider=prepared.provider,
        device=subject.device,
        device_id=info.device_id,
        scenario=scenario.name,
        batch=scenario.batch,
        steps=scenario.steps,
        variant=subject.variant,
        nfe=prepared.nfe,
        protocol=protocol.name,
        grid=run.grid,
        artifact_sha256=subject.sha256,
        latency_s=stats.median_interval(latencies),
        throughput_per_s=stats.t_interval([w.calls * scenario.batch / w.duration_s for w in series]),
        peak_host_bytes=prepared.peak_host_bytes,
        peak_device_bytes=prepared.peak_device_bytes,
        energy_per_query=energy_per_query(series, scenario.batch, idle_power_w),
        idle_power_w={str(component): power for component, power in idle_power_w.items()},
        windows=tuple(series),
        converged=goal.is_finished(),
        flags=_flags(series, prepared, subject, goal.unmet),
        environment=info.environment,
        created=now(),
    )


def energy_per_query(
    series: Sequence[Window], batch: int, idle_power_w: dict[Component, float]
) -> EnergyBreakdown:
    """The mean over windows of each component's joules per query; a component that a window lacks is missing.

    Its random error is Student's half-width of that mean. ``active_joules`` is what is left without the idle
    share, which is known for measured components alone.
    """
    found: dict[Component, Energy] = {}
    missing: dict[str, str] = {}
    for component in COMPONENTS:
        present = [(w, e) for w in series if (e := w.energy.present.get(component)) is not None]
        if present and len(present) == len(series):
            found[component] = _mean(present, batch, idle_power_w.get(component))
            continue
        lacking = [w for w in series if component not in w.energy.present]
        reason = lacking[0].energy.missing.get(component, "not measured")
        part = f"{len(lacking)} of {len(series)} windows: "
        missing[component] = reason if len(lacking) == len(series) else part + reason
    return EnergyBreakdown(
        gpu=found.get("gpu"), cpu=found.get("cpu"), dram=found.get("dram"), missing=missing
    )


def _mean(present: Sequence[tuple[Window, Energy]], batch: int, idle_w: float | None) -> Energy:
    queries = [window.calls * batch for window, _ in present]
    per_query = stats.t_interval([e.joules / n for (_, e), n in zip(present, queries, strict=True)])
    active = None
    if idle_w is not None:
        idle = fmean(idle_w * w.duration_s / n for (w, _), n in zip(present, queries, strict=True))
        active = per_query.value - idle
    first = present[0][1]
    flags = dict.fromkeys(itertools.chain.from_iterable(e.flags for _, e in present))
    if first.source == "modelled":
        flags[NO_IDLE] = None
    return energy(
        per_query.value,
        0.0 if per_query.high is None else per_query.high - per_query.value,
        systematic=first.systematic,
        gain_id=first.gain_id,
        source=first.source,
        sensor=first.sensor,
        flags=tuple(flags),
        active_joules=active,
    )


def _idle_power_w(idle: Sequence[tuple[float, EnergyBreakdown]]) -> dict[Component, float]:
    """Mean power without work of each component that is measured in all idle windows, W."""
    powers: dict[Component, float] = {}
    for component in COMPONENTS:
        figures = [(s, e) for s, b in idle if (e := b.present.get(component)) and e.source == "measured"]
        if figures and len(figures) == len(idle):
            powers[component] = fmean(e.joules / seconds for seconds, e in figures)
    return powers


def _flags(
    series: Sequence[Window], prepared: Prepared, subject: Subject, unmet: str | None
) -> tuple[str, ...]:
    flags = [UNTRAINED] if isinstance(subject.run, EstimateRecord) else []
    disturbed = sum(any(flag.startswith(foreign.FLAG) for flag in window.flags) for window in series)
    if disturbed:
        flags.append(f"{foreign.FLAG} in {disturbed} of {len(series)} windows")
    on_board = subject.device != "cpu"
    if prepared.peak_host_bytes is None or (on_board and prepared.peak_device_bytes is None):
        flags.append(MEMORY_UNKNOWN)
    if unmet is not None:
        flags.append(unmet)
    return tuple(flags)
