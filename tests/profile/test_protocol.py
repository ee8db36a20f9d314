"""Rules on synthetic windows, with no clock."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.errors import UsageError
from ptprof.profile.protocol import QUICK, Precision, WindowCount, protocol_named


def test_a_count_is_finished_at_its_number(make_window):
    rule = WindowCount(3)
    for seen in range(3):
        assert not rule.is_finished()
        assert rule.unmet == f"{seen} of 3 windows"
        rule.add_measurement(make_window())
    assert rule.is_finished()
    assert rule.unmet is None
    rule.initialize()
    assert not rule.is_finished()


def test_precision_is_that_of_the_mean_throughput(make_window):
    """Calls per second 98, 100, 102: s = 2, and t(2) s / sqrt(3) = 4.303 · 2 / 1.732 = 4.968."""
    rule = Precision(0.05)
    for calls in (98, 100, 102):
        assert not rule.is_finished()
        rule.add_measurement(make_window(calls))
    assert rule.is_finished()
    strict = Precision(0.049)
    for calls in (98, 100, 102):
        strict.add_measurement(make_window(calls))
    assert strict.unmet == "throughput known to ± 5%, not to ± 5%"
    assert not strict.is_finished()


def test_one_window_has_no_precision(make_window):
    rule = Precision(0.5)
    assert rule.unmet == "throughput not known, not to ± 50%"
    rule.add_measurement(make_window())
    assert not rule.is_finished()


def test_the_quick_protocol():
    assert (QUICK.windows, QUICK.window_s, QUICK.warm_up_s) == (5, 1.0, 1.0)
    assert QUICK.planned_s(42) / 60 == pytest.approx(4.2, rel=0.02)
    assert pickle.loads(pickle.dumps(QUICK)) == QUICK


@given(st.floats(1e-4, 30.0))
def test_a_window_is_long_enough_and_never_much_longer(call_s):
    """A second at least; three calls unless one alone takes a second; at most three windows or one call."""
    calls = 1
    while not QUICK.is_long_enough(calls, calls * call_s):
        calls += 1
    assert calls * call_s >= QUICK.window_s
    assert calls >= 3 or call_s >= 1.0
    assert calls * call_s < max(3 * QUICK.window_s, call_s) + call_s


def test_other_protocols_are_refused():
    with pytest.raises(UsageError, match=r"unknown protocol 'quik'.*did you mean 'quick'"):
        protocol_named("quik")
