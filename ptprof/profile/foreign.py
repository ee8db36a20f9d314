"""How busy the others keep the CPU: what they take is missing in what is measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ptprof.energy.cpu import cpu_seconds

#: The share of the cores (of those that this process may use) from which others are worth a flag.
LIMIT = 0.1
FLAG = "foreign load"

_PROC_STAT = Path("/proc/stat")
_IDLE_COLUMNS = (3, 4)  # idle, iowait; steal, which is the hypervisor's others, counts as busy
_COLUMNS = 8


@dataclass(frozen=True)
class CpuUse:
    """CPU seconds since some beginning: of everything on the cores, and of this process."""

    all_s: float
    own_s: float
    cores: int

    def foreign_share(self, later: CpuUse, elapsed_s: float) -> float:
        """The share of the cores that others took from this reading to a later one."""
        others = (later.all_s - self.all_s) - (later.own_s - self.own_s)
        return max(others, 0.0) / (elapsed_s * self.cores)


def cpu_use(stat: Path = _PROC_STAT, own: Callable[[], float] = cpu_seconds) -> CpuUse | None:
    """The use of the cores that this process may use; None where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    names = {f"cpu{i}" for i in os.sched_getaffinity(0)}
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii").splitlines()]
    except OSError:
        return None
    cores = [fields[1 : 1 + _COLUMNS] for fields in lines if fields and fields[0] in names]
    ticks = [[int(field) for field in fields] for fields in cores]
    # Some sandboxes show the file, full of zeros.
    if not ticks or not any(map(any, ticks)):
        return None
    busy = sum(sum(core) - sum(core[i] for i in _IDLE_COLUMNS) for core in ticks)
    return CpuUse(busy / os.sysconf("SC_CLK_TCK"), own(), len(ticks))


def flags(before: CpuUse | None, after: CpuUse | None, elapsed_s: float) -> tuple[str, ...]:
    """What is to be said of the time between two readings; nothing where the system does not tell."""
    if before is None or after is None:
        return ()
    share = before.foreign_share(after, elapsed_s)
    return (f"{FLAG} {share:.0%}",) if share > LIMIT else ()
