"""When work that waits goes together; the clock is the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.errors import UsageError
from ptprof.serve.batching import Batcher, Batching, batch_sizes


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def batcher(**knobs: object) -> tuple[Batcher[str], Clock]:
    clock = Clock()
    return Batcher(Batching(**knobs), clock), clock  # type: ignore[arg-type]


def test_without_delay_everything_that_waits_goes_at_once() -> None:
    line, _ = batcher(max_batch_size=4)
    assert line.take() == []
    assert line.wait_s() is None
    for item in "abcde":
        line.add(item, 1)
    assert line.wait_s() == 0
    assert line.take() == ["a", "b", "c", "d"]
    assert line.take() == ["e"]
    assert len(line) == 0


def test_with_delay_it_waits_for_a_full_batch_and_no_longer_than_that() -> None:
    line, clock = batcher(max_batch_size=4, max_queue_delay_microseconds=500_000)
    line.add("a", 2)
    clock.now_s += 0.3
    line.add("b", 1)
    assert line.take() == []
    # The first has waited 0.3 s of its 0.5 s.
    assert line.wait_s() == pytest.approx(0.2)
    clock.now_s += 0.2
    assert line.take() == ["a", "b"]
    line.add("c", 3)
    line.add("d", 1)
    assert line.take() == ["c", "d"]


def test_a_batch_that_the_next_does_not_fit_into_is_full() -> None:
    line, _ = batcher(max_batch_size=4, max_queue_delay_microseconds=10**9)
    line.add("a", 3)
    assert line.take() == []
    line.add("b", 2)
    assert line.take() == ["a"]
    assert line.take() == []


def test_a_preferred_size_is_not_waited_with() -> None:
    line, clock = batcher(max_batch_size=8, preferred_batch_size=(2, 4), max_queue_delay_microseconds=10**6)
    line.add("a", 1)
    assert line.take() == []
    line.add("b", 1)
    assert line.take() == ["a", "b"]
    for item in "cdefg":
        line.add(item, 1)
    # The largest preferred size that can be made; what is left waits its time.
    assert line.take() == ["c", "d", "e", "f"]
    assert line.take() == []
    clock.now_s += 1
    assert line.take() == ["g"]


def test_a_rollout_that_goes_on_is_not_kept_waiting_and_takes_others_along() -> None:
    line, _ = batcher(max_batch_size=4, max_queue_delay_microseconds=10**9)
    line.add("new", 1)
    line.add("goes on", 1, delay=False)
    assert line.wait_s() == 0
    assert line.take() == ["new", "goes on"]


def test_work_whose_time_is_over_is_given_back_and_not_done() -> None:
    line, clock = batcher(max_queue_delay_microseconds=10**9)
    line.add("patient", 1)
    line.add("hasty", 1, deadline_s=clock.now_s + 2)
    assert line.overdue() == []
    assert line.wait_s() == pytest.approx(2)
    clock.now_s += 2
    assert line.overdue() == ["hasty"]
    assert len(line) == 1


def test_what_is_dropped_waits_no_more() -> None:
    line, _ = batcher()
    line.add("a", 1)
    assert line.remove("a")
    assert not line.remove("a")
    assert line.take() == []


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"max_batch_size": 0}, "max_batch_size is at least 1"),
        ({"max_batch_size": 4, "preferred_batch_size": (8,)}, "from 1 to max_batch_size, 4, not 8"),
        ({"preferred_batch_size": (0,)}, "not 0"),
        ({"max_queue_delay_microseconds": -1}, "0 or more"),
    ],
)
def test_knobs_that_cannot_be(knobs: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Batching(**knobs)  # type: ignore[arg-type]


def test_sizes_as_they_are_written() -> None:
    assert batch_sizes("4, 8,") == (4, 8)
    assert batch_sizes("") == ()
    with pytest.raises(UsageError, match="such as 4,8, not 'four'"):
        batch_sizes("four")


@given(
    sizes=st.lists(st.integers(1, 6), max_size=30),
    preferred=st.sets(st.integers(1, 6), max_size=3),
    delay=st.integers(0, 5),
)
def test_nothing_is_lost_reordered_or_too_large(sizes: list[int], preferred: set[int], delay: int) -> None:
    clock = Clock()
    knobs = Batching(
        max_batch_size=6, preferred_batch_size=tuple(preferred), max_queue_delay_microseconds=delay * 10**6
    )
    line: Batcher[int] = Batcher(knobs, clock)
    done: list[int] = []
    for item, size in enumerate(sizes):
        line.add(item, size)
    while (wait_s := line.wait_s()) is not None:
        batch = line.take()
        assert bool(batch) == (wait_s == 0)
        assert sum(sizes[item] for item in batch) <= 6
        done += batch
        clock.now_s += max(wait_s, 0.001)
    assert done == list(range(len(sizes)))
    assert clock.now_s <= 100 + delay + 0.1
