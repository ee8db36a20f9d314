"""Which work that waits is done together, and when: dynamic batching with Triton's knobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from ptprof.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Triton's ``max_batch_size`` and ``dynamic_batching``, by its names.

    Attributes
    ----------
    max_batch_size : states in one call of the model, of however many requests; 1 batches nothing
    preferred_batch_size : sizes that are not waited with: the largest that can be made is made at once
    max_queue_delay_microseconds : how long a request may wait for others to make up a batch; 0: what waits
        when the model becomes free goes together, and nothing waits for more
    """

    max_batch_size: int = 8
    preferred_batch_size: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = 0

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise UsageError(f"max_batch_size is at least 1, not {self.max_batch_size}")
        for size in self.preferred_batch_size:
            if not 1 <= size <= self.max_batch_size:
                raise UsageError(
                    f"a preferred batch size is from 1 to max_batch_size, {self.max_batch_size}, not {size}"
                )
        if self.max_queue_delay_microseconds < 0:
            raise UsageError(
                f"max_queue_delay_microseconds is 0 or more: {self.max_queue_delay_microseconds}"
            )

    @property
    def delay_s(self) -> float:
        return self.max_queue_delay_microseconds * 1e-6


def batch_sizes(text: str) -> tuple[int, ...]:
    """Sizes as a user lists them: ``4,8``; UsageError for what is not a number."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(
            f"batch sizes are numbers with commas between them, such as 4,8, not {text!r}"
        ) from None


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[T]):
    item: T
    size: int
    due_s: float
    deadline_s: float | None


class Batcher(Generic[T]):
    """Work that waits for one model, in the order of arrival.

    It keeps no time of its own and no thread: who owns the model asks `take` for the next batch, and `wait_s`
    for how long there will be none.
    """

    def __init__(self, batching: Batching, clock: Callable[[], float] = time.monotonic) -> None:
        self._batching = batching
        self._clock = clock
        self._waiting: list[_Waiting[T]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: T, size: int, *, deadline_s: float | None = None, delay: bool = True) -> None:
        """Put ``item``, of ``size`` states, last.

        Parameters
        ----------
        deadline_s : on the batcher's clock; when it has passed `overdue` gives the item back
        delay : whether it may be kept waiting for others; a rollout that has begun is not
        """
        due_s = self._clock() + (self._batching.delay_s if delay else 0.0)
        self._waiting.append(_Waiting(item, size, due_s, deadline_s))

    def remove(self, item: T) -> bool:
        """Drop ``item``; whether it was waiting."""
        left = [entry for entry in self._waiting if entry.item is not item]
        dropped = len(left) < len(self._waiting)
        self._waiting = left
        return dropped

    def overdue(self) -> list[T]:
        """The items whose deadline has passed; they wait no longer."""
        now = self._clock()
        late = [entry for entry in self._waiting if entry.deadline_s is not None and entry.deadline_s <= now]
        if late:
            self._waiting = [entry for entry in self._waiting if entry not in late]
        return [entry.item for entry in late]

    def take(self) -> list[T]:
        """The next batch, which waits no longer; empty where nothing waits or more may still come."""
        count = self._ready()
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return [entry.item for entry in batch]

    def wait_s(self) -> float | None:
        """How long until `take` or `overdue` has something, unless more comes; None where nothing waits."""
        if not self._waiting:
            return None
        if self._ready():
            return 0.0
        deadlines = [entry.deadline_s for entry in self._waiting if entry.deadline_s is not None]
        return max(min(self._waiting[0].due_s, *deadlines, *self._dues()) - self._clock(), 0.0)

    def _dues(self) -> list[float]:
        return [entry.due_s for entry in self._waiting]

    def _ready(self) -> int:
        """How many of the first items make up a batch now; 0: none yet."""
        totals = [t for t in accumulate(e.size for e in self._waiting) if t <= self._batching.max_batch_size]
        if self._waiting and not totals:
            # Larger than a batch may be: alone, as it came.
            return 1
        preferred = [i for i, total in enumerate(totals, 1) if total in self._batching.preferred_batch_size]
        if preferred:
            return preferred[-1]
        full = bool(totals) and (
            len(totals) < len(self._waiting) or totals[-1] == self._batching.max_batch_size
        )
        now = self._clock()
        due = any(due_s <= now for due_s in self._dues()[: len(totals)])
        return len(totals) if full or due else 0
