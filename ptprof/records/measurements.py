"""What a query cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ptprof.records.aspects import ColdStart, Load, Paper, Percentile, Queue, Work
from ptprof.records.base import Environment, Interval, Record, Value
from ptprof.records.joules import EnergyBreakdown
from ptprof.records.power import PowerSamples
from ptprof.records.runs import PluginSource


class BoardWindow(Value):
    """One board over one window.

    ``joules`` is the counter's figure, ``sampled_j`` the integral of the ``power`` that was sampled beside
    it. Temperatures are those of the window's two ends; ``sm_clock_hz`` is the lowest that was seen.
    ``throttled`` names what held the clock back, ``foreign_processes`` counts processes that are not the
    measurement's. None is what the board does not tell.
    """

    uuid: str
    joules: float | None = None
    sampled_j: float | None = None
    power: PowerSamples | None = None
    temperature_start_c: float | None = None
    temperature_end_c: float | None = None
    sm_clock_hz: float | None = None
    throttled: tuple[str, ...] = ()
    foreign_processes: int | None = None


class Window(Value):
    """One measuring window, raw: ``calls`` calls in ``duration_s``, the joules of each component.

    ``start_s`` counts from the start of the process that measured, which was the ``process``-th.
    ``latencies_s`` holds the wall time of each call, or of every second, third … where they are very many;
    under a load, the time from when it was meant to be sent. ``flags`` say what disturbed the window; one
    that does not count is not in the figures.
    """

    start_s: float
    duration_s: float
    calls: int
    latencies_s: tuple[float, ...]
    energy: EnergyBreakdown
    boards: tuple[BoardWindow, ...] = ()
    queue: Queue | None = None
    process: int = 0
    flags: tuple[str, ...] = ()
    counts: bool = True


class Idle(Value):
    """A window without work: of a ``device`` that we do not use yet, or with our ``context`` resident."""

    kind: Literal["device", "context"]
    process: int = 0
    duration_s: float
    energy: EnergyBreakdown


class Measurement(Record):
    """What one query cost on one runtime, device, scenario and batch size, with the raw samples.

    A query is one forecast from one initial state: one step, one rollout of ``steps`` steps, or one whole
    start of a process up to its first answer. A call serves ``batch`` queries at once, so that
    ``energy_per_query`` is the window's energy over ``calls * batch`` while ``latency_s`` is the median wall
    time of a call. ``threads`` are those of the CPU in one query. ``grid`` is that of a forecast, None of
    what is none. ``nfe`` is how often each step evaluated the network of a model that samples, None for the
    others.

    ``host`` tells the machine from others, without naming it, as long as it runs; ``cores`` are those that
    the measuring process was held to, by number, empty where it might use all of the machine's. ``plugins``
    are the code of a runtime and of sensors that are not ptprof's own.

    ``metered_gpus`` are the boards that were metered, by UUID: the GPU's energy is their sum.
    ``idle_power_w`` is what each component takes with the context resident and nothing to do,
    ``device_idle_power_w`` without a context; they are means over ``idle``. ``unmet`` says what is lacking to
    the protocol's goals; a measurement that lacks nothing has converged.
    """

    run: str
    model: str
    runtime: str
    provider: str
    device: str
    device_id: str
    scenario: Literal["one-step", "rollout", "cold-start", "load"]
    batch: int
    steps: int
    threads: int | None = None
    cores: tuple[int, ...] = ()
    host: str = ""
    plugins: tuple[PluginSource, ...] = ()
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    variant: str = ""
    nfe: int | None = None
    protocol: Literal["quick", "full", "paper"]
    grid: tuple[int, int] | None
    artifact_sha256: str
    latency_s: Interval
    throughput_per_s: Interval
    percentiles: tuple[Percentile, ...] = ()
    peak_host_bytes: int | None
    peak_device_bytes: int | None
    energy_per_query: EnergyBreakdown
    metered_gpus: tuple[str, ...] = ()
    idle_power_w: dict[str, float]
    device_idle_power_w: dict[str, float] = Field(default_factory=dict)
    work: Work | None = None
    phases: ColdStart | None = None
    load: Load | None = None
    paper: Paper | None = None
    windows: tuple[Window, ...]
    idle: tuple[Idle, ...] = ()
    converged: bool
    unmet: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    environment: Environment
    created: str
