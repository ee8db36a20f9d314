"""What others take of the CPU, from files as the kernel writes them."""

from __future__ import annotations

import os

import pytest

from ptprof.profile.foreign import CpuUse, cpu_use

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def stat(tmp_path, monkeypatch):
    """Write a /proc/stat of one line per core; this process may use cores 0 and 2."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2})

    def write(*cores):
        path = tmp_path / "stat"
        lines = [f"cpu{i} " + " ".join(str(int(s * TICKS)) for s in core) for i, core in enumerate(cores)]
        path.write_text("cpu  1 2 3 4 5 6 7 8 9 10\n" + "\n".join(lines) + "\nintr 12 0\nctxt 5\n")
        return path

    return write


def test_busy_seconds_of_our_cores(stat):
    """user, nice, system, irq, softirq and steal count; idle, iowait and what guests had of user do not."""
    path = stat((10, 1, 2, 500, 50, 3, 4, 5, 6, 6), (99,) * 10, (20, 0, 0, 600, 0, 0, 0, 0, 0, 0))
    use = cpu_use(path, own=lambda: 12.0)
    assert use == CpuUse(pytest.approx(45.0), 12.0, 2)


def test_the_share_of_others():
    before, later = CpuUse(100.0, 40.0, 2), CpuUse(103.0, 42.0, 2)
    assert before.foreign_share(later, elapsed_s=2.0) == pytest.approx(0.25)
    assert before.foreign_share(CpuUse(100.5, 41.0, 2), elapsed_s=1.0) == 0.0


def test_what_the_system_does_not_tell(stat, tmp_path):
    assert cpu_use(tmp_path / "nothing") is None
    assert cpu_use(stat((0,) * 10, (0,) * 10, (0,) * 10)) is None
