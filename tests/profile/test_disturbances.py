"""What a window is flagged for, from the states of its boards."""

from __future__ import annotations

import pytest

from ptprof.energy.board import BoardState
from ptprof.profile import disturbances
from ptprof.records import BoardWindow

CALM = BoardState(temperature_c=60.0, sm_clock_hz=1.7e9, throttle_reasons=(), processes=(7,))


def _flags(before, after, own=(7,), present=True):
    boards = disturbances.board_windows({"GPU-a": before}, {"GPU-a": after}, {}, {}, own, present)
    return disturbances.board_flags(boards)


def _state(**changes):
    return BoardState(**({**vars(CALM)} | changes))


@pytest.mark.parametrize(
    ("after", "flags", "disturbed"),
    [
        (CALM, (), False),
        (_state(temperature_c=63.0), (), False),
        (_state(temperature_c=64.0), ("temperature drift +4 °C",), True),
        (_state(temperature_c=56.0), ("temperature drift -4 °C",), True),
        (
            _state(throttle_reasons=("hardware slowdown", "hardware thermal slowdown")),
            ("throttled by hardware slowdown and hardware thermal slowdown",),
            True,
        ),
        (_state(throttle_reasons=("power cap",)), ("at the power limit",), False),
        (_state(processes=(7, 8, 9)), ("foreign process: 2 on the GPU",), True),
        (_state(processes=(8, 9)), (), False),  # our own is not listed: numbers of another namespace
        (BoardState(), (), False),
    ],
)
def test_a_board_is_flagged_for_what_it_tells(after, flags, disturbed):
    assert _flags(CALM, after) == flags
    assert disturbances.disturbed(flags) is disturbed


def test_whoever_computes_on_a_board_that_is_only_metered_is_foreign():
    assert _flags(_state(processes=()), _state(processes=(8,)), present=False) == (
        "foreign process: 1 on the GPU",
    )
    assert _flags(_state(processes=()), _state(processes=()), present=False) == ()


def test_a_board_is_recorded_with_its_lowest_clock_and_both_temperatures():
    after = _state(temperature_c=61.0, sm_clock_hz=1.6e9, throttle_reasons=("power cap",))
    (board,) = disturbances.board_windows({"GPU-a": CALM}, {"GPU-a": after}, {}, {}, (7,), True)
    assert board == BoardWindow(
        uuid="GPU-a",
        temperature_start_c=60.0,
        temperature_end_c=61.0,
        sm_clock_hz=1.6e9,
        throttled=("power cap",),
        foreign_processes=0,
    )


def test_a_clock_is_held_against_the_fastest_window_before(make_window):
    def at(hertz):
        return make_window(boards=(BoardWindow(uuid="GPU-a", sm_clock_hz=hertz),))

    earlier = [at(1.6e9), at(1.7e9)]
    assert disturbances.clock_flags(at(1.62e9), earlier) == ()
    assert disturbances.clock_flags(at(1.53e9), earlier) == ("clock drop -10%",)
    assert disturbances.clock_flags(at(1.53e9), []) == ()
    assert disturbances.clock_flags(at(None), earlier) == ()


def test_a_component_that_went_missing_in_a_window_is_lost():
    before = {"dram": "no DRAM sensor"}
    assert disturbances.lost(before, before) == ()
    assert disturbances.lost(before, before | {"gpu": "went backwards"}) == ("energy lost: went backwards",)


def test_flags_are_counted_over_a_series(make_window):
    flags = [("foreign load 30%",), (), ("foreign load 12%", "at the power limit"), ("clock drop -9%",)]
    assert disturbances.over([make_window(flags=f) for f in flags]) == (
        "foreign load in 2 of 4 windows",
        "clock drop in 1 of 4 windows",
        "at the power limit in 1 of 4 windows",
    )
