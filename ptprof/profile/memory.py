"""Peak memory of one candidate among several that live in one process.

A candidate's peak is what the process needs without any candidate, and what this one adds: by being loaded,
and, at most, while it answers. Memory that was freed but is still mapped is given back before each look.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import Protocol

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets VmHWM to the present VmRSS


class Memory(Protocol):
    """A kind of memory, as a process sees it."""

    def in_use(self) -> int | None:
        """Bytes in use now; None where that cannot be told."""

    def reset_peak(self) -> bool:
        """Begin a new peak here; whether that can be done."""

    def peak(self) -> int | None:
        """The most bytes in use since the peak was reset."""


class HostMemory:
    """Resident memory of this process, by Linux's /proc."""

    def in_use(self) -> int | None:
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL(None).malloc_trim(0)
        return _status("VmRSS")

    def reset_peak(self) -> bool:
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
        except OSError:
            return False
        return True

    def peak(self) -> int | None:
        return _status("VmHWM")


#: Runtimes whose memory is torch's own: it counts it to the byte.
TORCH = frozenset({"eager", "compile", "torchscript", "pt2"})


class TorchMemory:
    """What torch has allocated on a GPU."""

    def __init__(self, device: str) -> None:
        self._device = device

    def in_use(self) -> int | None:
        return torch.cuda.memory_allocated(self._device)

    def reset_peak(self) -> bool:
        torch.cuda.reset_peak_memory_stats(self._device)
        return True

    def peak(self) -> int | None:
        return torch.cuda.max_memory_allocated(self._device)


class BoardMemory:
    """What is in use on a GPU, by whomever: for runtimes that keep in an arena what they have once taken."""

    def __init__(self, device: str) -> None:
        self._device = device

    def in_use(self) -> int | None:
        free, total = torch.cuda.mem_get_info(self._device)
        return total - free

    def reset_peak(self) -> bool:
        return True

    def peak(self) -> int | None:
        return self.in_use()


class PeakOfOne:
    """The peak of one candidate: begin before it is loaded, ``loaded`` after, ``answered`` after a query."""

    def __init__(self, memory: Memory, base: int | None) -> None:
        self._memory = memory
        self._base = base
        self._own = 0
        self._before = memory.in_use()

    def loaded(self) -> None:
        """It has been loaded; what it keeps is its own, and the peak of its queries begins here."""
        self._keep()
        if not self._memory.reset_peak():
            self._before = None

    def answered(self) -> int | None:
        """It has answered: its peak, None where that cannot be told. What it keeps from now on is its own."""
        peak, before = self._memory.peak(), self._before
        if peak is None or before is None or self._base is None:
            return None
        most = self._base + self._own + max(peak - before, 0)
        self._keep()
        return most

    def again(self) -> None:
        """Another query is to follow; others may have taken memory since."""
        self._before = self._memory.in_use()
        self.loaded()

    def _keep(self) -> None:
        now = self._memory.in_use()
        if now is not None and self._before is not None:
            self._own += max(now - self._before, 0)
        self._before = now


def device_memory(runtime: str, device: str) -> Memory | None:
    """How to see the GPU memory that ``runtime`` takes; None on the CPU."""
    if device == "cpu":
        return None
    return TorchMemory(device) if runtime in TORCH else BoardMemory(device)


def _status(name: str) -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    kibibytes = next(values, None)
    return None if kibibytes is None else int(kibibytes) * 1024
