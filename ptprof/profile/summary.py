"""From raw windows to the figures of a measurement."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ptprof import stats
from ptprof.energy.combine import energy
from ptprof.profile import disturbances, load
from ptprof.profile.bench import Info, Prepared
from ptprof.profile.percentiles import median_latency, percentiles
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.scenarios import Scenario
from ptprof.records import (
    COMPONENTS,
    Component,
    Energy,
    EnergyBreakdown,
    EstimateRecord,
    Idle,
    Measurement,
    Model,
    ModelRecord,
    Window,
)
from ptprof.study import now

MEMORY_UNKNOWN = "peak memory unknown"
UNTRAINED = "untrained weights: the cost is the model's, the forecast is not"
NO_IDLE = "no idle share: the model knows none"


#: The power without work may change by this share of itself from a session's beginning to its end.
IDLE_DRIFT = 0.05

Key = tuple[str, str, str, Scenario, str, str, str, int | None]
"""Run, runtime, device, scenario, hash, variant, precision and threads."""


@dataclass(frozen=True)
class Subject:
    """What is measured: a run on a runtime and device; ``sha256`` is its file's, or its checkpoint's."""

    run: Model
    runtime: str
    device: str
    scenario: Scenario
    sha256: str
    variant: str = ""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    threads: int | None = None

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return (
            self.run.run,
            self.runtime,
            self.device,
            self.scenario,
            self.sha256,
            self.variant,
            self.precision,
            self.threads,
        )


def summarise(
    subject: Subject,
    protocol: MeasuringProtocol,
    prepared: Prepared,
    info: Info,
    series: Sequence[Window],
    idle: Sequence[Idle],
) -> Measurement:
    """The measurement that a series of windows amounts to.

    Latency is the median over all calls, with the interval of `median_latency`; throughput and energy are
    means over windows with Student's, or over processes where those differ. Windows that do not count are
    left out, unless those that do are fewer than the protocol's least: then all are in, and the measurement
    has not converged.
    """
    run, scenario = subject.run, subject.scenario
    calm = sum(window.counts for window in series)
    lacking: tuple[str, ...] = ()
    if calm < min(protocol.windows, len(series)):
        lacking = (f"{calm} of {len(series)} windows undisturbed: all are in the figures",)
        series = [window.model_copy(update={"counts": True}) for window in series]
    goal = protocol.goal(load=scenario.name == "load")
    goal.initialize()
    for window in series:
        goal.add_measurement(window)
    unmet = (*lacking, *goal.unmet)
    counted = [window for window in series if window.counts]
    contexts = [one for one in idle if one.kind == "context"]
    idle_power_w = _idle_power_w(contexts)
    latencies = list(itertools.chain.from_iterable(window.latencies_s for window in counted))
    under_load = load.summarise(scenario, counted) if scenario.name == "load" else None
    unanswered = under_load.unanswered if under_load is not None else 0
    throughput = [window.calls * scenario.batch / window.duration_s for window in counted]
    processes = [window.process for window in counted]
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
        threads=subject.threads,
        cores=info.cores,
        host=info.host,
        plugins=info.plugins,
        precision=subject.precision,
        variant=subject.variant,
        nfe=prepared.nfe,
        protocol=protocol.name,
        grid=run.grid if isinstance(run, ModelRecord) else None,
        artifact_sha256=subject.sha256,
        latency_s=median_latency(counted, protocol.confidence),
        throughput_per_s=stats.grouped_interval(throughput, processes, protocol.confidence),
        percentiles=percentiles(latencies, unanswered),
        peak_host_bytes=prepared.peak_host_bytes,
        peak_device_bytes=prepared.peak_device_bytes,
        energy_per_query=energy_per_query(counted, scenario.batch, idle_power_w, protocol.confidence),
        metered_gpus=info.metered_gpus,
        idle_power_w=dict(idle_power_w),
        device_idle_power_w=dict(_idle_power_w([one for one in idle if one.kind == "device"])),
        work=prepared.work,
        load=under_load,
        windows=tuple(series),
        idle=tuple(idle),
        converged=not unmet,
        unmet=unmet,
        flags=(
            *_of_the_run(subject, prepared),
            *disturbances.over(series),
            *_left_out(series, counted),
            *_idle_drift(contexts),
            *(load.flags(under_load, counted) if under_load is not None else ()),
            *unmet,
        ),
        environment=info.environment,
        created=now(),
    )


def energy_per_query(
    series: Sequence[Window],
    batch: int,
    idle_power_w: Mapping[Component, float],
    confidence: float = stats.CONFIDENCE,
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
            found[component] = _mean(present, batch, idle_power_w.get(component), confidence)
            continue
        lacking = [w for w in series if component not in w.energy.present]
        reason = lacking[0].energy.missing.get(component, "not measured")
        part = f"{len(lacking)} of {len(series)} windows: "
        missing[component] = reason if len(lacking) == len(series) else part + reason
    return EnergyBreakdown(
        gpu=found.get("gpu"), cpu=found.get("cpu"), dram=found.get("dram"), missing=missing
    )


def _mean(
    present: Sequence[tuple[Window, Energy]], batch: int, idle_w: float | None, confidence: float
) -> Energy:
    queries = [window.calls * batch for window, _ in present]
    per_query = stats.grouped_interval(
        [e.joules / n for (_, e), n in zip(present, queries, strict=True)],
        [window.process for window, _ in present],
        confidence,
    )
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


def _idle_power_w(idle: Sequence[Idle]) -> dict[Component, float]:
    """Mean power without work of each component that is measured in all idle windows, W."""
    return {component: fmean(powers) for component, powers in _idle_powers_w(idle).items()}


def _idle_powers_w(idle: Sequence[Idle]) -> dict[Component, list[float]]:
    """The power (W) in each idle window of each component that is measured in all of them."""
    powers: dict[Component, list[float]] = {}
    for component in COMPONENTS:
        figures = [(one, e) for one in idle if (e := one.energy.present.get(component)) is not None]
        if figures and len(figures) == len(idle) and all(e.source == "measured" for _, e in figures):
            powers[component] = [e.joules / one.duration_s for one, e in figures]
    return powers


def _of_the_run(subject: Subject, prepared: Prepared) -> tuple[str, ...]:
    """What to mind of the candidate itself."""
    flags = [UNTRAINED] if isinstance(subject.run, EstimateRecord) else []
    on_board = subject.device != "cpu"
    if prepared.peak_host_bytes is None or (on_board and prepared.peak_device_bytes is None):
        flags.append(MEMORY_UNKNOWN)
    return tuple(flags)


def _left_out(series: Sequence[Window], counted: Sequence[Window]) -> tuple[str, ...]:
    """How many windows are in none of the figures."""
    if len(counted) == len(series):
        return ()
    return (f"{len(series) - len(counted)} disturbed windows of {len(series)} are not in the figures",)


def _idle_drift(idle: Sequence[Idle]) -> tuple[str, ...]:
    """Components whose power without work was another one at the end than at the beginning."""
    flags = []
    for component, powers in _idle_powers_w(idle).items():
        drift = powers[-1] / powers[0] - 1 if len(powers) > 1 and powers[0] > 0 else 0.0
        if abs(drift) > IDLE_DRIFT:
            flags.append(f"idle {component} power drifted by {drift:+.0%}")
    return tuple(flags)
