"""Sums of energies: what errs together adds up, the rest in quadrature."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.energy import Energy, EnergyBreakdown, add, per, total
from ptprof.energy.combine import basis, energy, random_error
from ptprof.errors import EnergyError


def _energy(joules, random=0.0, systematic=0.05, gain="GPU-a", **changes):
    return energy(
        joules,
        random,
        systematic=systematic,
        gain_id=gain,
        **{"source": "measured", "sensor": "x", **changes},
    )


amounts = st.floats(0.01, 1e6)


@given(joules=amounts, relative=st.floats(0, 0.9), systematic=st.floats(0, 0.3))
def test_the_random_error_is_found_again(joules, relative, systematic):
    figure = _energy(joules, relative * joules, systematic)
    assert random_error(figure) == pytest.approx(relative * joules, rel=1e-3, abs=1e-3 * joules)


@given(st.lists(st.tuples(amounts, st.floats(0, 0.5)), min_size=1, max_size=20))
def test_one_board_over_time(windows):
    """Equal gain errors add up, so that the sum's relative one is that of each; edges are independent."""
    figures = [_energy(joules, share * joules) for joules, share in windows]
    summed = add(figures)
    assert summed.joules == pytest.approx(math.fsum(j for j, _ in windows))
    assert summed.systematic == pytest.approx(0.05)
    assert summed.gain_id == "GPU-a"
    expected = math.hypot(*(j * s for j, s in windows))
    assert random_error(summed) == pytest.approx(expected, rel=1e-3, abs=1e-3 * summed.joules)


def test_boards_err_apart():
    summed = add([_energy(300.0, gain="GPU-b"), _energy(400.0, gain="GPU-a")])
    assert summed.systematic * summed.joules == pytest.approx(0.05 * 500.0)
    assert summed.gain_id == "GPU-a+GPU-b"


@given(st.permutations([1.0, 2.0, 30.0, 400.0]), st.integers(1, 3))
def test_the_order_and_grouping_of_a_sum_do_not_matter(values, cut):
    figures = [_energy(v, 0.1 * v, gain="GPU-a" if v < 10 else "GPU-b") for v in values]
    whole = add(figures)
    assert whole.joules == pytest.approx(433.0)
    same_gain = [_energy(v, 0.1 * v) for v in values]
    grouped = add([add(same_gain[:cut]), add(same_gain[cut:])])
    assert (grouped.low, grouped.high) == pytest.approx((add(same_gain).low, add(same_gain).high))
    assert whole.high < add(same_gain).high


def test_the_weakest_source_and_all_flags_are_kept():
    summed = add(
        [
            _energy(1.0, flags=("a",), active_joules=0.5),
            _energy(2.0, source="modelled", sensor="y", flags=("b", "a"), active_joules=1.0),
        ]
    )
    assert (summed.source, summed.sensor, summed.flags) == ("modelled", "x + y", ("a", "b"))
    assert summed.active_joules == 1.5
    assert add([_energy(1.0, active_joules=0.5), _energy(1.0)]).active_joules is None


def test_a_component_that_one_window_lacks_has_no_total():
    whole = EnergyBreakdown(
        gpu=_energy(10.0), cpu=_energy(1.0, gain="cpu-model"), missing={"dram": "no sensor"}
    )
    lacking = EnergyBreakdown(
        cpu=_energy(2.0, gain="cpu-model"), missing={"gpu": "reset", "dram": "no sensor"}
    )
    summed = total([whole, lacking, whole])
    assert summed.cpu.joules == pytest.approx(4.0)
    assert summed.gpu is None
    assert summed.missing == {"gpu": "1 of 3 windows: reset", "dram": "no sensor"}


def test_nothing_has_no_sum():
    with pytest.raises(EnergyError, match="no energy to add"):
        add([])
    assert total([]).missing == dict.fromkeys(("gpu", "cpu", "dram"), "no window was metered")


def test_a_share_keeps_its_relative_errors():
    whole: Energy = _energy(100.0, 3.0, active_joules=80.0)
    share = per(whole, 50)
    assert share.joules == pytest.approx(2.0)
    assert (share.low, share.high) == pytest.approx((whole.low / 50, whole.high / 50))
    assert share.active_joules == pytest.approx(1.6)
    assert share.systematic == whole.systematic


def test_a_projection_remembers_the_weakest_that_it_was_made_from():
    measured = _energy(10.0).model_copy(update={"source": "projected", "projected_from": "measured"})
    modelled = _energy(1.0, gain="cpu-model").model_copy(
        update={"source": "projected", "projected_from": "modelled"}
    )
    assert add([measured, measured]).projected_from == "measured"
    both = add([measured, modelled])
    assert (both.source, both.projected_from, basis(both)) == ("projected", "modelled", "modelled")
    paid = _energy(1.0).model_copy(update={"source": "modelled"})
    mixed = add([measured, paid])
    assert (mixed.source, mixed.projected_from) == ("projected", "modelled")
    assert (add([paid]).projected_from, basis(paid)) == (None, "modelled")
    assert per(both, 5).projected_from == "modelled"
