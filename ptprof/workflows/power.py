"""The watts of a busy core, where nothing is said of them."""

from __future__ import annotations

from ptprof.energy import CPU_WATTS_PER_CORE


def watts(given: float | None) -> float:
    """``given``, or the stated default, W."""
    return CPU_WATTS_PER_CORE if given is None else given
