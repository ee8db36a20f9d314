"""Several iterations at once, one core each.

Torch spreads one operation over the cores and waits for them all after each; with operations of some
microseconds, whole simulations side by side are faster, and far faster where the cores are shared.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

WAITING = 4
"""Items that each worker may be ahead of who takes them."""

POLL_S = 0.1


def in_parallel(
    jobs: Sequence[Callable[[], Iterable[T]]], workers: int
) -> Generator[tuple[int, T], None, None]:
    """Iterate over all ``jobs``, ``workers`` of them at a time; yields ``(number of the job, item)``.

    Items of one job come in order. Where a job raises, so does this. Torch works with one thread until
    the end, when all workers have stopped; close it where not all items are taken.
    """
    items: queue.Queue[tuple[int, T]] = queue.Queue(WAITING * workers)
    stop = threading.Event()

    def work(number: int) -> None:
        for item in jobs[number]():
            while not stop.is_set():
                try:
                    items.put((number, item), timeout=POLL_S)
                    break
                except queue.Full:
                    continue
            if stop.is_set():
                return

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(work, number) for number in range(len(jobs))]
            try:
                yield from _drain(items, futures)
            finally:
                stop.set()
                for future in futures:
                    future.cancel()
    finally:
        torch.set_num_threads(threads)


def _drain(items: queue.Queue[tuple[int, T]], futures: list[Future[None]]) -> Iterator[tuple[int, T]]:
    while True:
        ended = [future for future in futures if future.done()]
        for future in ended:
            future.result()
        try:
            yield items.get(timeout=0.0 if len(ended) == len(futures) else POLL_S)
        except queue.Empty:
            if len(ended) == len(futures):
                return
