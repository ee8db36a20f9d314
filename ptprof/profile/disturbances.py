"""What disturbs a window: found at its two ends, said in its flags, and counted over a series."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ptprof.energy.board import BoardState
from ptprof.energy.trace import cross_check
from ptprof.profile import foreign
from ptprof.records import BoardWindow, Energy, PowerSamples, Window

#: How much slower (relative) a board's clock may be than in an earlier window of the same candidate.
CLOCK_DROP = 0.05
#: How far (°C) a board's temperature may drift within a window.
TEMPERATURE_DRIFT_C = 3.0

LOST = "energy lost"
THROTTLED = "throttled"
POWER_CAP = "at the power limit"
CLOCK = "clock drop"
TEMPERATURE = "temperature drift"
PROCESSES = "foreign process"
COUNTER = "sampled power"

#: What makes a window one that does not count under a strict protocol. A board that is held at its power
#: limit does what it was set to do.
DISTURBING = (foreign.FLAG, LOST, THROTTLED, CLOCK, TEMPERATURE, PROCESSES, COUNTER)
ALL = (*DISTURBING, POWER_CAP)

_AT_POWER_LIMIT = "power cap"


def board_windows(
    before: Mapping[str, BoardState],
    after: Mapping[str, BoardState],
    counted: Mapping[str, Energy],
    sampled: Mapping[str, tuple[PowerSamples, float]],
    own: Collection[int],
    present: bool,
) -> tuple[BoardWindow, ...]:
    """Each board over one window, from its states at the two ends.

    Parameters
    ----------
    counted : what the counters give, by UUID
    sampled : power sampled beside them, and its integral, of the boards that have it
    own : the numbers of the processes that measure
    present : whether one of them computes on the boards
    """
    found = []
    for uuid, first in before.items():
        last = after.get(uuid, BoardState())
        ends = (first, last)
        clocks = [state.sm_clock_hz for state in ends if state.sm_clock_hz is not None]
        others = [count for state in ends if (count := state.foreign(own, present)) is not None]
        reasons = [reason for state in ends for reason in state.throttle_reasons or ()]
        found.append(
            BoardWindow(
                uuid=uuid,
                joules=counted[uuid].joules if uuid in counted else None,
                sampled_j=sampled[uuid][1] if uuid in sampled else None,
                power=sampled[uuid][0] if uuid in sampled else None,
                temperature_start_c=first.temperature_c,
                temperature_end_c=last.temperature_c,
                sm_clock_hz=min(clocks) if clocks else None,
                throttled=tuple(dict.fromkeys(reasons)),
                foreign_processes=max(others) if others else None,
            )
        )
    return tuple(found)


def board_flags(boards: Iterable[BoardWindow]) -> tuple[str, ...]:
    """What is to be said of the boards of one window by itself."""
    flags: list[str] = []
    for board in boards:
        held = [reason for reason in board.throttled if reason != _AT_POWER_LIMIT]
        if held:
            flags.append(f"{THROTTLED} by {' and '.join(held)}")
        if _AT_POWER_LIMIT in board.throttled:
            flags.append(POWER_CAP)
        start_c, end_c = board.temperature_start_c, board.temperature_end_c
        if start_c is not None and end_c is not None and abs(end_c - start_c) > TEMPERATURE_DRIFT_C:
            flags.append(f"{TEMPERATURE} {end_c - start_c:+.0f} °C")
        if board.foreign_processes:
            flags.append(f"{PROCESSES}: {board.foreign_processes} on the GPU")
        if board.joules is not None and board.sampled_j is not None:
            flags += [words] if (words := cross_check(board.joules, board.sampled_j)) else []
    return tuple(flags)


def lost(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Components whose energy went missing within a window: a counter was reset, or stood still."""
    return tuple(f"{LOST}: {after[component]}" for component in after if component not in before)


def clock_flags(window: Window, earlier: Sequence[Window]) -> tuple[str, ...]:
    """What is to be said of the boards' clocks in a window after others of the same candidate."""
    fastest: dict[str, float] = {}
    for board in (board for one in earlier for board in one.boards):
        if board.sm_clock_hz is not None:
            fastest[board.uuid] = max(fastest.get(board.uuid, 0.0), board.sm_clock_hz)
    flags = []
    for board in window.boards:
        reference = fastest.get(board.uuid)
        if reference and board.sm_clock_hz is not None and board.sm_clock_hz < (1 - CLOCK_DROP) * reference:
            flags.append(f"{CLOCK} {board.sm_clock_hz / reference - 1:.0%}")
    return tuple(flags)


def disturbed(flags: Iterable[str]) -> bool:
    """Whether a window with such flags was disturbed."""
    return any(flag.startswith(DISTURBING) for flag in flags)


def over(series: Sequence[Window]) -> tuple[str, ...]:
    """The kinds of flags of a series, each with the number of windows that have it."""
    found = []
    for kind in ALL:
        having = sum(any(flag.startswith(kind) for flag in window.flags) for window in series)
        if having:
            found.append(f"{kind} in {having} of {len(series)} windows")
    return tuple(found)
