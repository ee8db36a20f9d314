"""How groups of work are dealt to hands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.cluster import deal

GROUPS = st.lists(st.integers(0, 12), max_size=12)
HANDS = st.integers(1, 9)


def _groups(sizes):
    return [[(number, item) for item in range(size)] for number, size in enumerate(sizes)]


def _cuts(dealt):
    """How often a group is in one hand more than in one."""
    places = [{group for group, _ in hand} for hand in dealt]
    return sum(len(place) for place in places) - len(set().union(*places))


@given(GROUPS, HANDS)
def test_every_item_is_dealt_once_and_hands_are_even(sizes, hands):
    dealt = deal(_groups(sizes), hands)
    assert len(dealt) == hands
    items = [item for hand in dealt for item in hand]
    assert sorted(items) == [item for group in _groups(sizes) for item in group]
    lengths = [len(hand) for hand in dealt]
    assert max(lengths) - min(lengths) <= 1


@given(GROUPS, HANDS)
def test_groups_are_cut_at_one_place_a_hand_at_most_and_stay_in_order(sizes, hands):
    dealt = deal(_groups(sizes), hands)
    assert _cuts(dealt) <= hands - 1
    for hand in dealt:
        for number in range(len(sizes)):
            mine = [item for group, item in hand if group == number]
            assert mine == list(range(mine[0], mine[0] + len(mine))) if mine else True


@given(st.integers(1, 6), st.integers(1, 6), HANDS)
def test_equal_groups_that_the_hands_divide_stay_whole(size, each, hands):
    assert _cuts(deal(_groups([size] * each * hands), hands)) == 0


@given(st.lists(st.lists(st.floats(0.1, 50.0), max_size=8), max_size=8), HANDS)
def test_no_hand_is_further_from_its_even_share_than_one_item(costs, hands):
    groups = [[(number, i, cost) for i, cost in enumerate(group)] for number, group in enumerate(costs)]
    dealt = deal(groups, hands, lambda item: item[2])
    assert sorted(item for hand in dealt for item in hand) == sorted(item for g in groups for item in g)
    each = [item[2] for group in groups for item in group]
    for hand in dealt:
        assert abs(sum(item[2] for item in hand) - sum(each) / hands) <= max(each, default=0.0) + 1e-6


@pytest.mark.parametrize(("hands", "cuts"), [(1, 0), (2, 0), (3, 0), (4, 2), (6, 0), (7, 6)])
def test_the_quick_sweep_of_seven_models_on_three_runtimes_in_two_scenarios(hands, cuts):
    assert _cuts(deal(_groups([7] * 6), hands)) == cuts
