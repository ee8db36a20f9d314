"""Calling a query again and again for a window's length, timed and metered."""

from __future__ import annotations

from collections.abc import Callable

from ptprof.energy import Clock, EnergyMeter
from ptprof.profile import foreign
from ptprof.profile.foreign import CpuUse
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.records import EnergyBreakdown, Window

#: A call that is longer than this share of a counter's tick cannot be ended on it.
SHORT_CALL = 0.25
#: How many ticks a window may be longer to end on one.
PATIENCE_TICKS = 2.0


def warm_up(call: Callable[[], None], seconds: float, clock: Clock) -> int:
    """Call for at least ``seconds``, and at least once; how often it was."""
    begun = clock.now()
    calls = 0
    while not calls or clock.now() - begun < seconds:
        call()
        calls += 1
    return calls


def measure_window(
    call: Callable[[], None],
    protocol: MeasuringProtocol,
    meter: EnergyMeter,
    clock: Clock,
    *,
    origin_s: float = 0.0,
    cpu_use: Callable[[], CpuUse | None] = foreign.cpu_use,
) -> Window:
    """One window of ``call``, which returns when its work is done.

    One call goes before the window: caches and threads are then the candidate's own again. Where the energy
    counter ticks, the window goes on until a tick, as long as calls are short against it.

    Parameters
    ----------
    origin_s : what ``start_s`` counts from, on ``clock``
    cpu_use : how busy the CPU is
    """
    call()
    latencies: list[float] = []
    before = cpu_use()
    with meter.window() as energy:
        begun = ended = clock.now()
        while True:
            call()
            called, ended = ended, clock.now()
            latencies.append(ended - called)
            elapsed = ended - begun
            if protocol.is_long_enough(len(latencies), elapsed) and (
                elapsed >= protocol.window_s + PATIENCE_TICKS * meter.tick_s
                or latencies[-1] > SHORT_CALL * meter.tick_s
                or energy.ticked()
            ):
                break
    after = cpu_use()
    return Window(
        start_s=begun - origin_s,
        duration_s=ended - begun,
        calls=len(latencies),
        latencies_s=tuple(latencies),
        energy=energy.breakdown(),
        flags=_foreign(before, after, clock.now() - begun),
    )


def measure_idle(seconds: float, meter: EnergyMeter, clock: Clock) -> tuple[float, EnergyBreakdown]:
    """A window in which nothing is done: how long it was (s), and what it took."""
    with meter.window() as window:
        clock.sleep(seconds)
    return window.duration_s, window.breakdown()


def _foreign(before: CpuUse | None, after: CpuUse | None, elapsed_s: float) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    share = before.foreign_share(after, elapsed_s)
    return (f"{foreign.FLAG} {share:.0%}",) if share > foreign.LIMIT else ()
