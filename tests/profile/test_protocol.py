"""What the protocols ask for."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.errors import UsageError
from ptprof.profile.protocol import FULL, QUICK, protocol_named


def test_the_quick_protocol():
    assert (QUICK.windows, QUICK.window_s, QUICK.warm_up_s) == (5, 1.0, 1.0)
    assert QUICK.planned_s(42) / 60 == pytest.approx(4.2, rel=0.02)
    assert pickle.loads(pickle.dumps(QUICK)) == QUICK


def test_the_full_protocol():
    """Seven windows of 5 s after warm-ups of 5 s in three processes, 1 s before each: 57.35 s a candidate."""
    assert (FULL.windows, FULL.window_s, FULL.precision) == (7, 5.0, 0.02)
    assert FULL.planned_s(1) == pytest.approx(3 * 5 + 7 * (1 + 5 + 0.05))
    assert FULL.most_planned_s(1) == pytest.approx(3 * 60 + 28 * 1.1 + 1.1 * 300)


@pytest.mark.parametrize("protocol", [QUICK, FULL])
@given(call_s=st.floats(1e-3, 30.0))
def test_a_window_is_long_enough_and_never_much_longer(protocol, call_s):
    """A window's length at least; three calls unless one fills it; three windows or one call at most."""
    calls = 1
    while not protocol.is_long_enough(calls, calls * call_s):
        calls += 1
    assert calls * call_s >= protocol.window_s
    assert calls >= 3 or call_s >= protocol.window_s
    assert calls * call_s < max(3 * protocol.window_s, call_s) + call_s


@given(tick_s=st.floats(0.01, 0.5), share=st.floats(0.05, 1.0, exclude_max=True))
def test_a_full_window_has_50_ticks_and_32_calls_of_what_is_shorter(tick_s, share):
    call_s = share * tick_s
    calls = 1
    while not FULL.is_long_enough(calls, calls * call_s, tick_s):
        calls += 1
    assert calls * call_s >= 50 * tick_s - 1e-9
    assert calls >= 32


def test_a_bound_on_the_time_leaves_fewer_windows_and_the_same_goal(make_window):
    bounded = FULL.bounded(25.0)
    rule = bounded.stop()
    rule.initialize()
    taken = 0
    while not rule.is_finished():
        rule.add_measurement(make_window(100, 5.05))
        taken += 1
    assert taken == 5
    assert rule.unmet == ("5 of 7 windows",)
    assert bounded.planned_s(1) == pytest.approx(5 + 5 * 6.05)
    assert bounded.rounds(0) is None
    assert FULL.bounded(60.0).rounds(0) == 3
    assert FULL.bounded(None) is FULL
    with pytest.raises(UsageError, match="must be above 0 s, not 0 s"):
        FULL.bounded(0.0)


def test_a_series_is_spread_over_fresh_processes():
    assert [FULL.rounds(process) for process in range(4)] == [3, 3, None, None]
    assert QUICK.rounds(0) is None


def test_under_a_load_the_pace_is_not_the_candidates(make_window):
    """Arrivals set the throughput: only the count of windows, and the energy, can be waited for."""
    goal = QUICK.goal(load=True)
    goal.initialize()
    for calls in (50, 150, 50, 150, 50):
        goal.add_measurement(make_window(calls))
    assert goal.is_finished()
    assert not _met(QUICK.goal(), [make_window(calls) for calls in (50, 150, 50, 150, 50)])


def test_other_protocols_are_refused():
    with pytest.raises(UsageError, match=r"unknown protocol 'quik'.*did you mean 'quick'"):
        protocol_named("quik")


def _met(rule, windows):
    rule.initialize()
    for window in windows:
        rule.add_measurement(window)
    return rule.is_finished()
