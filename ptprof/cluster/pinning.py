"""Cores of this machine that one process has to itself, among all that ask in this way."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ptprof.errors import RuntimeUnavailable

#: How long (s) to wait before asking again for what another process has.
WAIT_S = 0.05
_TOPOLOGY = Path("/sys/devices/system/cpu")


@contextmanager
def pinned(count: int) -> Iterator[tuple[int, ...]]:
    """Hold this thread, and the threads and processes that it starts, to ``count`` cores of its own.

    Nobody else on this machine who asks in this way, of whichever cluster, gets one of them meanwhile; they
    are waited for where they are not free. Cores of one socket, and threads of one core, go together. Yields
    their numbers; none where the system has no such thing.

    Raises
    ------
    RuntimeUnavailable : this process may use fewer cores
    """
    if not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    allowed = os.sched_getaffinity(0)
    if count > len(allowed):
        raise RuntimeUnavailable(f"{count} cores are asked for, and this process may use {len(allowed)}")
    with ExitStack() as stack:
        held = _taken(count, allowed, stack)
        os.sched_setaffinity(0, held)
        stack.callback(os.sched_setaffinity, 0, allowed)
        yield tuple(sorted(held))


def _taken(count: int, allowed: Collection[int], stack: ExitStack) -> list[int]:
    """So many cores, taken until ``stack`` closes."""
    ordered = sorted(allowed, key=_place)
    while True:
        with ExitStack() as attempt:
            # One asks at a time: two would share out what lies together.
            if attempt.enter_context(_lock("all")):
                with ExitStack() as locks:
                    held: list[int] = []
                    for core in ordered:
                        if len(held) < count and locks.enter_context(_lock(str(core))):
                            held.append(core)
                    if len(held) == count:
                        stack.enter_context(locks.pop_all())
                        return held
        time.sleep(WAIT_S)


@contextmanager
def _lock(name: str) -> Iterator[bool]:
    """Whether a name is ours for the block: an abstract socket's, which the kernel frees when we die."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        try:
            lock.bind(f"\0ptprof-core-{name}")
            ours = True
        except OSError:
            ours = False
        yield ours


def _place(core: int) -> tuple[int, int, int]:
    """The socket and the core of what the kernel counts as ``core``; zeros where it does not tell."""
    topology = _TOPOLOGY / f"cpu{core}" / "topology"
    try:
        package, physical = (
            int((topology / name).read_text(encoding="ascii")) for name in ("physical_package_id", "core_id")
        )
    except (OSError, ValueError):
        return 0, 0, core
    return package, physical, core
