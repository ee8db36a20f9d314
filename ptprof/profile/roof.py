"""How near a step comes to what the machine could do.

A step of F operations that must move M bytes takes at least ``max(F / peak_flops, M / peak_bytes)``: the
roofline of S. Williams, A. Waterman and D. Patterson, Commun. ACM 52 (2009) 65.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptprof.records import Measurement

Bound = Literal["computing", "memory"]


@dataclass(frozen=True)
class Roof:
    """Where a step stands: ``least_s`` is what it must take, ``share`` how much of its time that is.

    ``limited_by`` is the longer of the two; ``intensity`` is operations per byte.
    """

    least_s: float
    share: float
    limited_by: Bound
    intensity: float


def roof(measurement: Measurement) -> Roof | None:
    """Where the steps of a measurement stand; None where operations or peaks are not known.

    The time of a step is the median latency over the steps of a query, or under a load the mean time of
    service. A share above one says that the peaks do not bound this step: its weights stayed in a cache that
    is faster than memory.
    """
    step = measurement.work
    if step is None or step.flops is None or not step.peak_flops_per_s or not step.peak_bytes_per_s:
        return None
    computing_s = step.flops / step.peak_flops_per_s
    moving_s = step.bytes / step.peak_bytes_per_s
    least_s = max(computing_s, moving_s)
    limited_by: Bound = "computing" if computing_s >= moving_s else "memory"
    load = measurement.load
    call_s = measurement.latency_s.value if load is None else load.service_s.value
    took_s = call_s / measurement.steps
    return Roof(least_s, least_s / took_s, limited_by, step.flops / step.bytes)
