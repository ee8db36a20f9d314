"""Cores that a process has to itself."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from ptprof.cluster import pinned
from ptprof.errors import RuntimeUnavailable

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")

HOLD = """
import sys
from ptprof.cluster import pinned
with pinned(int(sys.argv[1])) as held:
    print(*held, flush=True)
    sys.stdin.read()
"""


@contextmanager
def _holder(count):
    """A process that has so many cores to itself, and which."""
    command = [sys.executable, "-c", HOLD, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process, {int(core) for core in process.stdout.readline().split()}
        process.kill()


def test_processes_get_cores_of_their_own_and_a_killed_one_gives_them_back():
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("needs two cores")
    with _holder(len(allowed) - 1) as (_, most), _holder(1) as (process, last):
        assert most | last == allowed
        assert not most & last
        process.kill()
        with _holder(1) as (_, again):
            assert again == last


def test_children_are_held_too_and_afterwards_all_is_as_before():
    allowed = os.sched_getaffinity(0)
    with pinned(1) as held:
        assert os.sched_getaffinity(0) == set(held)
        seen = subprocess.run(
            [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert seen.stdout.split() == [str(core) for core in held]
    assert os.sched_getaffinity(0) == allowed


def test_more_cores_than_there_are_are_refused():
    with pytest.raises(RuntimeUnavailable, match="99999 cores are asked for"), pinned(99999):
        pass
