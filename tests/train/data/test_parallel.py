"""Iterations side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from ptprof.train.data.parallel import in_parallel


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_every_item_of_every_job_in_its_order(counts: list[int], workers: int) -> None:
    found: dict[int, list[int]] = {number: [] for number in range(len(counts))}
    for number, item in in_parallel([partial(numbers, count) for count in counts], workers):
        found[number].append(item)
    assert found == {number: list(range(count)) for number, count in enumerate(counts)}


def test_jobs_run_at_the_same_time_each_with_one_thread_of_torch() -> None:
    meeting = threading.Barrier(2, timeout=30)

    def job() -> Iterator[int]:
        meeting.wait()
        yield torch.get_num_threads()

    before = torch.get_num_threads()
    assert [threads for _, threads in in_parallel([job, job], 2)] == [1, 1]
    assert torch.get_num_threads() == before


def test_a_job_that_fails_ends_the_others() -> None:
    ended = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            ended.set()

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("no")

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="no"):
        list(in_parallel([endless, failing], 2))
    assert ended.wait(30)
    assert torch.get_num_threads() == before


def test_who_stops_taking_ends_all() -> None:
    ended = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            ended.set()

    iteration = in_parallel([endless], 1)
    assert next(iteration) == (0, 0)
    iteration.close()
    assert ended.wait(30)
