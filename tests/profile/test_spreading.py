"""A sweep on a real cluster of two nodes: what is made is what one machine makes, each once."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from ptprof.cluster import Executor
from ptprof.errors import MeasurementError, UsageError
from ptprof.profile import profile, protocol
from ptprof.profile.bench import Info, Prepared, device_id
from ptprof.profile.scenarios import scenario
from ptprof.profile.spreading import shares
from ptprof.profile.summary import Subject
from ptprof.records import EnergyBreakdown, Environment, RunRecord, Window
from ptprof.study import Study, write_record

cloudpickle = pytest.importorskip("ray.cloudpickle", reason="Ray is not installed")
# The nodes cannot import the tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
MACHINE = Environment(platform="p", python="3", cpu="c", cpu_cores=1, memory_bytes=1)


class FakeBench:
    """Gives all the same window, and writes down whose it was; a doomed one stops in its second session."""

    def __init__(self, window: Window, log: Path, doomed: bool) -> None:
        self.info = Info(device_id("cpu"), MACHINE, measures_idle=False)
        self._window, self._log, self._doomed = window, log, doomed
        self._session = None

    def prepare(self, run, scenario):
        return Prepared("p", 1, None)

    def warm_up(self, run, scenario, protocol):
        return 1

    def window(self, run, scenario, protocol, number):
        self._session = self._session or scenario
        if self._doomed and scenario != self._session:
            self._log.with_name("doomed").touch()
            threading.Event().wait()
        with self._log.open("a", encoding="ascii") as file:
            file.write(f"{run.run} {scenario.name}/{scenario.batch} {_node()}\n")
        if run.run == "fno-quick-s3":
            raise MeasurementError("this one cannot")
        return self._window

    def idle(self, seconds):
        raise NotImplementedError


def _node():
    import ray

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"


@contextmanager
def open_fake(setup, *, window, log, doomed):
    yield FakeBench(window, log, _node() == doomed)


@pytest.fixture
def asked(tmp_path, study, make_window, monkeypatch):
    """A study of four runs, and how they are measured; what was measured is written into a log."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    copy = Study(shutil.copytree(study.root, tmp_path / "study"))
    first = copy.run("fno")
    for number in (1, 2, 3):
        run = first.model_copy(update={"run": f"fno-quick-s{number}", "seed": number})
        shutil.copytree(copy.run_folder(first.run), copy.run_folder(run.run))
        write_record(copy.run_folder(run.run) / "run.json", run)
    window = make_window(100)
    cpu = window.energy.cpu.model_copy(update={"sensor": "CPU seconds × 6 W per core"})
    window = window.model_copy(update={"energy": window.energy.model_copy(update={"cpu": cpu})})

    def asked(*, seeds=(0, 1, 2), doomed="", **settings):
        runs: list[RunRecord] = [copy.named(f"fno-quick-s{seed}") for seed in seeds]
        opened = partial(open_fake, window=window, log=tmp_path / "log", doomed=doomed)
        return profile(copy, runs, runtimes=["eager"], batches=[1, 2], open_bench=opened, **settings)

    asked.study = copy
    asked.log = tmp_path / "log"
    return asked


def _windows(asked):
    """How many windows were made since this was asked: by run, query and node."""
    counts = Counter(tuple(line.split()) for line in asked.log.read_text(encoding="ascii").splitlines())
    asked.log.unlink()
    return counts


def _facts(measurements):
    return [m.model_dump(mode="json", exclude={"cores", "created"}) for m in measurements]


def test_two_nodes_give_the_records_of_one_machine_and_sessions_stay_together(asked, ray_nodes):
    alone = asked()
    windows = _windows(asked)
    for path in asked.study.root.glob("measurements/*"):
        path.unlink()
    with Executor(asked.study.root, address=ray_nodes.address) as cluster:
        together = asked(cluster=cluster)
        assert _facts(together) == _facts(alone)
        assert sorted(_facts(asked.study.measurements()), key=str) == sorted(_facts(together), key=str)
        made = _windows(asked)
        assert sorted(made.values()) == sorted(windows.values())
        assert {candidate[:2] for candidate in made} == {candidate[:2] for candidate in windows}
        assert len({(query, node) for _, query, node in made}) == len({query for _, query, _ in made}) == 4
        assert Counter(node for _, _, node in made).most_common()[-1][1] == len(made) / 2
        assert _facts(asked(cluster=cluster)) == _facts(alone)
        assert not asked.log.exists()


def test_of_a_killed_node_what_was_not_finished_is_measured_by_the_other_and_nothing_twice(asked, ray_nodes):
    (doomed,) = ray_nodes.worker_nodes

    def kill() -> None:
        while not asked.log.with_name("doomed").exists():
            waiting.wait(0.05)
        ray_nodes.remove_node(doomed, allow_graceful=False)

    waiting = threading.Event()
    killer = threading.Thread(target=kill)
    with Executor(asked.study.root, address=ray_nodes.address) as cluster:
        killer.start()
        made = asked(cluster=cluster, doomed=doomed.node_id)
        killer.join()
        assert len(made) == len(asked.study.measurements()) == 12
        windows = _windows(asked)
        assert len(windows) == 12
        assert set(windows.values()) == {protocol.QUICK.windows}
        ray_nodes.add_node(num_cpus=1)


def test_what_fails_by_itself_is_told_at_the_end_and_not_tried_elsewhere(asked, ray_nodes):
    with (
        Executor(asked.study.root, address=ray_nodes.address) as cluster,
        pytest.raises(MeasurementError, match=r"4 of 8 .* 4 others have been made: fno on eager: this one"),
    ):
        asked(cluster=cluster, seeds=(0, 3))
    counts = _windows(asked)
    assert [count for (run, *_), count in counts.items() if run == "fno-quick-s3"] == [1] * 4
    assert len(asked.study.measurements()) == 4


def test_a_cluster_meters_each_gpu_by_itself(asked):
    with pytest.raises(UsageError, match="leave --meter-gpus out"):
        asked(cluster=object(), meter_gpus=["0"])


def test_rounds_of_fresh_processes_stay_together_as_sessions_do(make_run):
    runs = [make_run(f"m{i}", EnergyBreakdown()) for i in range(4)]
    queries = [scenario(name, batch=1, steps=10) for name in ("one-step", "rollout", "cold-start")]
    subjects = [Subject(run, "eager", "cpu", query, "") for query in queries for run in runs]
    of_paper = shares([s for s in subjects if s.scenario.name != "cold-start"], 2, protocol=protocol.PAPER)
    assert [len(share) for share in of_paper] == [4, 4]
    # A start takes longer than a series of windows does: the cold starts are about two thirds of the work.
    first, second, third = shares(subjects, 3, protocol=protocol.QUICK)
    names = [[s.scenario.name for s in share] for share in (first, second, third)]
    assert sum(name.count("cold-start") for name in names) == 4
    assert names[0].count("one-step") == 4


DIES_WITH_PARENT = """
import subprocess, sys
CHILD = (
    "import sys, time; from ptprof.profile.parent import die_with_parent; die_with_parent();"
    " print(flush=True); time.sleep(600)"
)
child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word is Linux's")
def test_what_measures_does_not_outlive_who_asked_for_it():
    with subprocess.Popen(
        [sys.executable, "-c", DIES_WITH_PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        ended, _, _ = select.select([child], [], [], 60)
        os.close(child)
    assert ended
