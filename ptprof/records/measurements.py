"""What a query cost."""

from __future__ import annotations

from typing import Literal

from ptprof.records.base import Environment, Interval, Record, Value
from ptprof.records.joules import EnergyBreakdown


class Window(Value):
    """One measuring window, raw: ``calls`` calls in ``duration_s``, the joules of each component.

    ``start_s`` counts from the start of the session. ``latencies_s`` holds the wall time of each call.
    """

    start_s: float
    duration_s: float
    calls: int
    latencies_s: tuple[float, ...]
    energy: EnergyBreakdown
    flags: tuple[str, ...] = ()


class Measurement(Record):
    """What one query cost on one runtime, device, scenario and batch size, with the raw samples.

    A query is one forecast from one initial state: one step, or one rollout of ``steps`` steps. A
    call serves ``batch`` queries at once, so ``energy_per_query`` is the window's energy over
    ``calls * batch`` while ``latency_s`` is the median wall time of a call. ``nfe`` is how often each step
    evaluated the network of a model that samples, None for the others.
    """

    run: str
    model: str
    runtime: str
    provider: str
    device: str
    device_id: str
    scenario: Literal["one-step", "rollout"]
    batch: int
    steps: int
    precision: Literal["fp32", "bf16"] = "fp32"
    variant: str = ""
    nfe: int | None = None
    protocol: Literal["quick", "full"]
    grid: tuple[int, int]
    artifact_sha256: str
    latency_s: Interval
    throughput_per_s: Interval
    peak_host_bytes: int | None
    peak_device_bytes: int | None
    energy_per_query: EnergyBreakdown
    idle_power_w: dict[str, float]
    windows: tuple[Window, ...]
    converged: bool
    flags: tuple[str, ...] = ()
    environment: Environment
    created: str
