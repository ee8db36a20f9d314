"""One training on several processes, of one machine or of several, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ptprof.energy import total
from ptprof.errors import UsageError
from ptprof.records import COMPONENTS, EnergyBreakdown, Value

T = TypeVar("T")


class Share(Value):
    """What one process spent over a stretch of time, and on which machine."""

    host: str = ""
    duration_s: float
    energy: EnergyBreakdown


def processes() -> int:
    """How many processes train together; 1 unless torchrun says otherwise."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def nodes() -> tuple[int, int]:
    """How many torchruns train together, and the processes of each.

    Raises
    ------
    UsageError : they do not all have as many
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 1, 1
    count, each = int(os.environ["GROUP_WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if count * each != processes():
        raise UsageError(
            f"{processes()} processes on {count} machines, {each} of them here: give every torchrun the same"
            " --nproc-per-node"
        )
    return count, each


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ["RANK"]) if processes() > 1 else 0


def leads() -> bool:
    """Whether this is the one that writes and prints."""
    return rank() == 0


def gathered(value: T) -> list[T]:
    """The ``value`` of every process, by rank, on every process; waits for all of them."""
    if processes() == 1:
        return [value]
    from torch import distributed

    values: list[T] = [value] * processes()
    distributed.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` gives in the process that leads, on every process; the others wait and do not call it.

    What the first process has found or written is told so: another machine may see its files late.
    """
    if processes() == 1:
        return make()
    from torch import distributed

    made: list[Any] = [make() if leads() else None]
    distributed.broadcast_object_list(made, src=0)
    value: T = made[0]
    return value


def together(shares: Iterable[Share]) -> Share:
    """What processes spent side by side: the time of the slowest, the energy of all.

    What was measured by one counter of a machine (a board, a socket) is the same joules in each of its
    processes and counts once; what was modelled is each process's own. ``host`` is the first one's.
    """
    parts = list(shares)
    seen: set[tuple[str, str, str]] = set()
    counted: list[EnergyBreakdown] = []
    for part in parts:
        counters = {
            component: (part.host, component, figure.gain_id)
            for component, figure in part.energy.present.items()
            if figure.source == "measured"
        }
        twice: dict[str, None] = dict.fromkeys(c for c, counter in counters.items() if counter in seen)
        counted.append(part.energy.model_copy(update=twice))
        seen.update(counters.values())
    summed = total(part.energy for part in parts)
    figures = {
        component: total(energy for energy in counted if component in energy.present).present[component]
        for component in COMPONENTS
        if component in summed.present
    }
    return Share(
        host=parts[0].host,
        duration_s=max(part.duration_s for part in parts),
        energy=EnergyBreakdown(**figures, missing=summed.missing),
    )


def first_to_fail() -> bool:
    """Whether no other process of this machine has said yet that it fails, so that one line tells of it.

    torchrun keeps a folder for each start of its processes, and tells each of them a file in it.
    """
    told = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not told:
        return True
    try:
        os.close(os.open(Path(told).parent.parent / "ptprof-failed", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    except OSError:
        return True  # The folder has gone with torchrun, and nobody may have said why.
    return True
