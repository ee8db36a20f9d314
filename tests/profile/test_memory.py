"""Peaks of candidates that share a process."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ptprof.profile.memory import HostMemory, PeakOfOne

MIB = 1 << 20


class Counted:
    """Memory that tests set."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.resets = True

    def take(self, more: int) -> None:
        self.now += more
        self.most = max(self.most, self.now)

    def in_use(self) -> int:
        return self.now

    def reset_peak(self) -> bool:
        self.most = self.now
        return self.resets

    def peak(self) -> int:
        return self.most


def test_a_peak_is_the_base_and_the_candidates_own():
    memory = Counted()
    memory.take(300)  # python and its libraries
    first = PeakOfOne(memory, base=300)
    memory.take(1000)  # what loading takes and gives back
    memory.take(-930)
    first.loaded()
    memory.take(50)
    memory.take(-40)
    assert first.answered() == 300 + 70 + 50
    second = PeakOfOne(memory, base=300)
    memory.take(5)
    second.loaded()
    memory.take(7)
    memory.take(-7)
    assert second.answered() == 300 + 5 + 7
    first.again()
    memory.take(100)
    assert first.answered() == 300 + 70 + 10 + 100


def test_an_unknown_peak_is_none():
    memory = Counted()
    memory.resets = False
    peak = PeakOfOne(memory, base=0)
    peak.loaded()
    assert peak.answered() is None
    assert PeakOfOne(Counted(), base=None).answered() is None


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from Linux's /proc")
def test_the_peak_of_this_process():
    """100 MiB that are taken and given back show in the peak, and not in what is kept."""
    memory = HostMemory()
    base = memory.in_use()
    peak = PeakOfOne(memory, base)
    kept = np.ones(30 * MIB, dtype=np.uint8)
    peak.loaded()
    taken = np.ones(100 * MIB, dtype=np.uint8)
    del taken
    assert peak.answered() - base == pytest.approx(130 * MIB, abs=5 * MIB)
    peak.again()
    assert peak.answered() - base == pytest.approx(kept.nbytes, abs=5 * MIB)
