"""Shares of work on the devices of a cluster, until all of it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ptprof.cluster.devices import Device
from ptprof.errors import PtprofError

T = TypeVar("T")
Tell = Callable[[Any], None]
Work = Callable[[Sequence[T], Tell], None]

#: How often work may be lost with who does it until it is given up.
MOST_LOSSES = 3
#: How often (s) to look for nodes that have joined, while work waits for a device.
LOOK_S = 5.0
NOBODY = "no node of the cluster is left; what is finished is in the study, run the command again"


class Devices(Protocol):
    """Who works: as `ptprof.cluster.executor.Executor`."""

    @property
    def devices(self) -> tuple[Device, ...]: ...

    def begin(self, device: Device, work: Work[T], items: Sequence[T]) -> Any: ...

    def joined(self) -> list[Device]: ...


@dataclass(frozen=True)
class Share(Generic[T]):
    """What one device has to do, and how often that was lost."""

    items: Sequence[T]
    losses: int = 0


class Running(Generic[T]):
    """Work that goes on; parameters as `ptprof.cluster.executor.Executor.run` has them."""

    def __init__(
        self,
        on: Devices,
        work: Work[T],
        *,
        deal: Callable[[Sequence[T], int], Sequence[Sequence[T]]],
        hear: Callable[[Device, Any], None],
        left: Callable[[Device, Sequence[T]], Sequence[T]],
    ) -> None:
        self._on, self._work = on, work
        self._deal, self._hear, self._left = deal, hear, left
        self._free = list(on.devices)
        self._waiting: list[Share[T]] = []
        self._busy: dict[Any, tuple[Device, Share[T]]] = {}
        self._given_up: list[tuple[T, str]] = []
        self._looked_s = time.monotonic()

    def until_done(self, items: Sequence[T]) -> list[tuple[T, str]]:
        """The items that were given up, and why."""
        import ray

        self._add(items, 0)
        try:
            while self._waiting or self._busy:
                self._look()
                while self._waiting and self._free:
                    device, share = self._free.pop(0), self._waiting.pop(0)
                    self._busy[self._on.begin(device, self._work, share.items)] = device, share
                if not self._busy:
                    self._given_up += [(item, NOBODY) for share in self._waiting for item in share.items]
                    break
                ready, _ = ray.wait(list(self._busy), num_returns=1, timeout=LOOK_S, fetch_local=False)
                for stream in ready:
                    self._take(stream)
            return self._given_up
        finally:
            for stream in self._busy:
                ray.cancel(stream, force=True)

    def _take(self, stream: Any) -> None:
        """Take what a device tells next; it may have ended, or be lost."""
        import ray
        from ray import exceptions

        device, share = self._busy[stream]
        try:
            event = ray.get(next(stream))
        except StopIteration:
            del self._busy[stream]
            self._free.append(device)
        except exceptions.RayTaskError as error:
            # Our own errors as they were; everything else with the traceback of its node.
            raise error.cause if isinstance(error.cause, PtprofError) else error from None
        except exceptions.RayError as error:
            del self._busy[stream]
            if isinstance(error, exceptions.WorkerCrashedError | exceptions.OutOfMemoryError):
                self._free.append(device)  # The process alone is lost.
            self._lose(device, share, first_line(error))
        else:
            self._hear(device, event)

    def _lose(self, device: Device, share: Share[T], why: str) -> None:
        rest = self._left(device, share.items)
        if share.losses + 1 < MOST_LOSSES:
            self._free += self._on.joined()
            self._add(rest, share.losses + 1)
        else:
            self._given_up += [(item, f"lost {MOST_LOSSES} times with who did it: {why}") for item in rest]

    def _add(self, items: Sequence[T], losses: int) -> None:
        hands = max(len(self._free) + len(self._busy), 1)
        self._waiting += [Share(share, losses) for share in self._deal(items, hands) if share]

    def _look(self) -> None:
        """Take in what has joined: now and then while work waits, at once where nobody is left."""
        elapsed_s = time.monotonic() - self._looked_s
        if self._waiting and not self._free and (not self._busy or elapsed_s > LOOK_S):
            self._free += self._on.joined()
            self._looked_s = time.monotonic()


def first_line(error: BaseException) -> str:
    """What an error says first."""
    return str(error).strip().split("\n", maxsplit=1)[0]
