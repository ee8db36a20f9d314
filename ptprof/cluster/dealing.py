"""Who works on what: groups that belong together, dealt evenly and cut as little as that allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def deal(
    groups: Sequence[Sequence[T]], hands: int, cost: Callable[[T], float] = lambda item: 1.0
) -> list[list[T]]:
    """Deal the items of ``groups`` to so many hands, none of which has more to do than another.

    Hand after hand is filled up to its even share of what it all costs: with the first whole group that fits,
    as long as there is one, then with the first part of the next. At most one group is cut a hand, none by
    the last one: there are at most ``hands - 1`` cuts, and none where groups fit by themselves. A hand's cost
    is within that of one item of the even share; of items that cost the same, hands differ by at most one.

    Parameters
    ----------
    cost : of an item, above 0

    Returns
    -------
    the items of each hand, those of a group beside each other and in their order
    """
    waiting = [list(group) for group in groups if group]
    total = sum(cost(item) for group in waiting for item in group)
    dealt, spent = [], 0.0
    for number in range(1, hands + 1):
        hand: list[T] = []
        goal = total * number / hands
        while waiting:
            group = next((g for g in waiting if spent + _cost(g, cost) <= goal + _rounding(total)), None)
            if group is None:
                break
            waiting.remove(group)
            hand += group
            spent += _cost(group, cost)
        while waiting and spent + cost(waiting[0][0]) / 2 <= goal + _rounding(total):
            item = waiting[0].pop(0)
            hand.append(item)
            spent += cost(item)
            if not waiting[0]:
                del waiting[0]
        dealt.append(hand)
    return dealt


def _cost(group: Sequence[T], cost: Callable[[T], float]) -> float:
    return sum(cost(item) for item in group)


def _rounding(total: float) -> float:
    """Sums in another order may differ by so much."""
    return 1e-9 * total
