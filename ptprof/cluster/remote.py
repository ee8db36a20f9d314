"""What is done on a node: looking around, and carrying out work on cores of its own."""

from __future__ import annotations

import os
import pickle
import platform
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ptprof.cluster.devices import Facts
from ptprof.cluster.pinning import pinned
from ptprof.environment import SHARED_VARIABLE, allowed_cores, cpu_name, host_id, versions

#: What a share of a machine is told of its sockets' counters.
SHARED = "RAPL counts the whole socket, and this process has only some of the machine's cores"


def look(token: Path) -> Facts:
    """What a process finds here; ``token`` is a file in the folder that is to be shared."""
    return Facts(
        host=host_id(),
        cpu=cpu_name(),
        cores=frozenset(allowed_cores()),
        versions={"Python": platform.python_version(), **versions()},
        sees=token.is_file(),
        writes=os.access(token.parent, os.W_OK),
    )


def carry_out(payload: bytes, cores: int) -> Iterator[Any]:
    """Unpack ``(work, items)`` and call ``work(items, tell)`` on so many cores; gives what is told.

    Nothing of it is loaded before the process is held to its cores: libraries count them when they load.
    """
    with suppress(PermissionError):
        # Ray's workers make way for whatever else runs; what is measured must not.
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with pinned(cores) as held:
        if held and len(held) < (os.cpu_count() or 1):
            os.environ.setdefault(SHARED_VARIABLE, SHARED)
        told: queue.SimpleQueue[tuple[Any, BaseException | None, bool]] = queue.SimpleQueue()

        def run() -> None:
            try:
                work, items = pickle.loads(payload)
                work(items, lambda event: told.put((event, None, True)))
            except BaseException as error:  # noqa: BLE001, raised again below, where Ray sees it
                told.put((None, error, False))
            else:
                told.put((None, None, False))

        # What is told goes out while the work goes on.
        threading.Thread(target=run, name="work", daemon=True).start()
        while True:
            event, error, more = told.get()
            if error is not None:
                raise error
            if not more:
                return
            yield event
