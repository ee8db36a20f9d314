"""Work on a real cluster of two nodes on this machine: who does what, and what is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from ptprof.cluster import Executor, connection, deal, executor, start
from ptprof.errors import MeasurementError, RuntimeUnavailable, StudyError, UsageError

cloudpickle = pytest.importorskip("ray.cloudpickle", reason="Ray is not installed")
# The nodes cannot import the tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def one_by_one(items, hands):
    return [[item] for item in items]


def evenly(items, hands):
    return deal([[item] for item in items], hands)


def _run(cluster, work, items, *, deal=evenly, hear=lambda device, event: None, done=()):
    return cluster.run(
        work, items, deal=deal, hear=hear, left=lambda device, share: [i for i in share if i not in done]
    )


@pytest.fixture
def cluster(ray_nodes, tmp_path):
    with Executor(tmp_path, address=ray_nodes.address) as cluster:
        yield cluster


def note_times(log, items, tell):
    """Write down when each item was worked on, and on which cores."""
    for item in items:
        begun = time.monotonic()
        time.sleep(0.05)
        with Path(log).open("a", encoding="ascii") as file:
            file.write(f"{os.sched_getaffinity(0)} {begun} {time.monotonic()} {item}\n")
        tell(item)


DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
import test_executor as tests
from pathlib import Path
tests.cloudpickle.register_pickle_by_value(tests)
with tests.Executor(Path(sys.argv[2]).parent, address=sys.argv[3]) as cluster:
    tests._run(cluster, tests.partial(tests.note_times, sys.argv[2]), range(100, 108))
"""


def test_two_sweeps_never_meet_on_a_device(cluster, ray_nodes, tmp_path):
    log = tmp_path / "log"
    here = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", DRIVER, here, log, ray_nodes.address]) as other:
        _run(cluster, partial(note_times, str(log)), range(8), deal=one_by_one)
        assert other.wait(120) == 0
    lines = [line.rsplit(maxsplit=3) for line in log.read_text(encoding="ascii").splitlines()]
    assert sorted(int(item) for *_, item in lines) == [*range(8), *range(100, 108)]
    for core in {held for held, *_ in lines}:
        spans = sorted((float(begun), float(ended)) for held, begun, ended, _ in lines if held == core)
        assert all(ended <= begun for (_, ended), (begun, _) in pairwise(spans))


def wait_on(node, items, tell):
    """Do the first item; the others only where we are not on ``node``."""
    import ray

    for number, item in enumerate(items):
        if number and ray.get_runtime_context().get_node_id() == node:
            threading.Event().wait()
        tell(item)


def test_what_a_killed_node_had_left_is_done_by_others_and_one_that_joins(cluster, ray_nodes):
    (doomed,) = ray_nodes.worker_nodes
    done, by, joined = [], {}, []

    def hear(device, item):
        done.append(item)
        by.setdefault(device.node, []).append(item)
        if device.node == doomed.node_id and not joined:
            ray_nodes.remove_node(doomed, allow_graceful=False)
            joined.append(ray_nodes.add_node(num_cpus=1).node_id)

    assert _run(cluster, partial(wait_on, doomed.node_id), range(6), hear=hear, done=done) == []
    assert sorted(done) == [*range(6)]
    assert len(by[doomed.node_id]) == 1
    assert by[joined[0]]


def die_of(bad, items, tell):
    for item in items:
        if item == bad:
            os.kill(os.getpid(), signal.SIGKILL)
        tell(item)


def test_what_kills_its_process_is_given_up_and_the_rest_is_done(cluster):
    done = []
    (lost,) = _run(
        cluster,
        partial(die_of, 3),
        range(6),
        deal=one_by_one,
        hear=lambda device, item: done.append(item),
        done=done,
    )
    assert lost[0] == 3
    assert lost[1].startswith("lost 3 times with who did it: ")
    assert sorted(done) == [0, 1, 2, 4, 5]


def refuse(items, tell):
    raise MeasurementError("cannot be measured here")


def test_an_error_of_ours_comes_back_as_it_was(cluster):
    with pytest.raises(MeasurementError, match=r"^cannot be measured here$"):
        _run(cluster, refuse, range(2))


def environment(items, tell):
    tell({name: os.environ.get(name) for name in ("PTPROF_PLUGINS", "PTPROF_TOKEN", "PTPROF_SHARED_HOST")})


def test_our_variables_travel_but_for_the_secret_and_a_part_of_a_machine_knows_it(cluster, monkeypatch):
    monkeypatch.setenv("PTPROF_PLUGINS", "/a/plugin.py")
    monkeypatch.setenv("PTPROF_TOKEN", "secret")
    found = []
    _run(cluster, environment, [0], hear=lambda device, said: found.append(said))
    (seen,) = found
    assert (seen["PTPROF_PLUGINS"], seen["PTPROF_TOKEN"]) == ("/a/plugin.py", None)
    assert (seen["PTPROF_SHARED_HOST"] is not None) == ((os.cpu_count() or 1) > 1)


def test_a_folder_that_a_node_does_not_see_is_refused(ray_nodes, tmp_path, monkeypatch):
    @contextmanager
    def elsewhere(folder):
        yield folder / "on another machine"

    monkeypatch.setattr(executor, "_token", elsewhere)
    with (
        pytest.raises(StudyError, match=r"node .* does not see .*study merge"),
        Executor(tmp_path, address=ray_nodes.address),
    ):
        pass


def test_without_ray_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'ptprof\[cluster\]'"), start():
        pass


@pytest.mark.parametrize(
    ("address", "said"),
    [("ray://there:10001", "Ray client"), ("127.0.0.1:1", "ray start --head"), ("there:port", "HOST:PORT")],
)
def test_addresses_that_lead_nowhere(address, said, monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE_S", 1.0)
    with pytest.raises(UsageError, match=said), start(address):
        pass
