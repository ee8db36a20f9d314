"""Calling a query again and again for a window's length, timed and metered."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from ptprof.energy import Clock, EnergyMeter
from ptprof.energy.trace import integral
from ptprof.errors import EnergyError
from ptprof.profile import disturbances, foreign
from ptprof.profile.foreign import CpuUse
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.records import Idle, PowerSamples, Window

#: A call that is longer than this share of a counter's tick cannot be ended on it.
SHORT_CALL = 0.25
#: How many ticks a window may be longer to end on one.
PATIENCE_TICKS = 2.0
#: Of more calls in a window than this, the latencies of some are kept, evenly spread.
MOST_LATENCIES = 10_000
#: A board is warm where its temperature (°C) has moved by less than this over so long (s).
STEADY_C = 0.5
STEADY_FOR_S = 5.0


class Trace(Protocol):
    """Power of some boards that is sampled meanwhile, as `ptprof.energy.trace.PowerTrace` does."""

    def samples(self, uuid: str, start_s: float, end_s: float) -> PowerSamples:
        """Those between two times of the monotonic clock; raises EnergyError where there are none."""


def warm_up(call: Callable[[], None], seconds: float, clock: Clock) -> int:
    """Call for at least ``seconds``, and at least once; how often it was."""
    begun = clock.now()
    calls = 0
    while not calls or clock.now() - begun < seconds:
        call()
        calls += 1
    return calls


def warm_up_until_steady(
    call: Callable[[], None], protocol: MeasuringProtocol, meter: EnergyMeter, clock: Clock
) -> int:
    """Call for the protocol's warm-up, and on until the boards' temperatures stand still; how often it was.

    Where no board tells its temperature, or the protocol does not wait for that, time alone decides.
    """
    begun = clock.now()
    calls = warm_up(call, protocol.warm_up_s, clock)
    seen: deque[tuple[float, list[float]]] = deque()
    while clock.now() - begun < protocol.most_warm_up_s:
        states = meter.board_states().values()
        temperatures = [state.temperature_c for state in states if state.temperature_c is not None]
        if not temperatures:
            break
        seen.append((clock.now(), temperatures))
        while clock.now() - seen[0][0] > STEADY_FOR_S:
            first = seen.popleft()
            moved = max(
                abs(then - temperature)
                for _, later in (first, *seen)
                for then, temperature in zip(later, temperatures, strict=False)
            )
            if moved < STEADY_C:
                return calls
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
    usual_s: float = 0.0,
    on_board: bool = False,
    trace: Trace | None = None,
    cpu_use: Callable[[], CpuUse | None] = foreign.cpu_use,
) -> Window:
    """One window of ``call``, which returns when its work is done.

    One call, or as many as the protocol says, goes before the window: caches and threads are then the
    candidate's own again. Where the energy counter ticks, the window goes on until a tick, as long as calls
    are short against it.

    Parameters
    ----------
    origin_s : what ``start_s`` counts from, on ``clock``
    usual_s : how long a call has taken before; one that alone fills a window needs none before it
    on_board : whether the call computes on the boards that are metered
    trace : instant power to hold against the counter
    cpu_use : how busy the CPU is
    """
    if usual_s < protocol.window_s:
        warm_up(call, protocol.settle_s, clock)
    latencies: list[float] = []
    tick_s = meter.tick_s
    boards_before = meter.board_states()
    before = cpu_use()
    with meter.window() as energy:
        begun = ended = clock.now()
        while True:
            call()
            called, ended = ended, clock.now()
            latencies.append(ended - called)
            elapsed = ended - begun
            if protocol.is_long_enough(len(latencies), elapsed, tick_s) and (
                elapsed >= protocol.least_s(tick_s) + PATIENCE_TICKS * tick_s
                or latencies[-1] > SHORT_CALL * tick_s
                or energy.ticked()
            ):
                break
    after = cpu_use()
    elapsed_s = clock.now() - begun
    boards_after = meter.board_states()
    sampled = {} if trace is None else _sampled(trace, energy.gpus, begun, ended)
    boards = disturbances.board_windows(
        boards_before, boards_after, energy.gpus, sampled, own=(os.getpid(),), present=on_board
    )
    return Window(
        start_s=begun - origin_s,
        duration_s=ended - begun,
        calls=len(latencies),
        latencies_s=kept(latencies),
        energy=energy.breakdown(),
        boards=boards,
        flags=(
            *foreign.flags(before, after, elapsed_s),
            *disturbances.lost(meter.missing, energy.missing),
            *disturbances.board_flags(boards),
        ),
    )


def kept(latencies: Sequence[float]) -> tuple[float, ...]:
    """Latencies to the nanosecond: all, or every second, third … where they are very many."""
    every = -(-len(latencies) // MOST_LATENCIES)
    return tuple(round(seconds, 9) for seconds in latencies[::every])


def measure_idle(seconds: float, meter: EnergyMeter, clock: Clock) -> Idle:
    """A window in which nothing is done, with whatever this process has loaded."""
    with meter.window() as window:
        clock.sleep(seconds)
    return Idle(kind="context", duration_s=window.duration_s, energy=window.breakdown())


def _sampled(
    trace: Trace, uuids: Iterable[str], start_s: float, end_s: float
) -> dict[str, tuple[PowerSamples, float]]:
    """The samples of each board in a window with their integral (J); a board without samples is left out.

    The counter is the figure of record, with a second opinion or without.
    """
    found = {}
    for uuid in uuids:
        with suppress(EnergyError):
            samples = trace.samples(uuid, start_s, end_s)
            found[uuid] = (samples, integral(samples, start_s, end_s))
    return found
