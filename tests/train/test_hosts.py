"""One training on two machines: two torchruns here, each told that it is on a machine of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest
import torch
from torch.distributed import TCPStore

from ptprof.records import Epoch, Execution, RunRecord
from ptprof.study import Study
from ptprof.train import train
from ptprof.train.recipe import Recipe

SPENT_J = {"a": {"intel-rapl:0": 30, "intel-rapl:0:0": 6}, "b": {"intel-rapl:0": 50, "intel-rapl:0:0": 4}}
"""What the socket and the memory of each machine take in each epoch."""
LOST_J = {"a": {"intel-rapl:0": 10, "intel-rapl:0:0": 2}, "b": {"intel-rapl:0": 20, "intel-rapl:0:0": 1}}
"""And in the epoch in which a process of machine b is killed, before it is."""

SCRIPT = dedent(
    """
    import contextlib, json, os, signal, sys, time
    from pathlib import Path
    from torch import distributed
    from ptprof.energy import EnergyMeter
    from ptprof.records import Execution
    from ptprof.study import Study
    from ptprof.train import train
    from ptprof.train.place import Place
    from ptprof.train.recipe import Recipe

    folder, host = Path(sys.argv[1]), Path(sys.argv[1]) / sys.argv[2]
    spent, lost = json.loads(sys.argv[3])
    local, rank = int(os.environ["LOCAL_RANK"]), int(os.environ["RANK"])
    killed = folder / "killed"

    def spend(joules):
        for zone, taken in joules.items() if local == 0 else ():
            count = host / "powercap" / zone / "energy_uj"
            after = count.with_name("after")
            after.write_text(str(int(count.read_text()) + taken * 1_000_000))
            os.replace(after, count)
        distributed.barrier()

    def entries(path):
        with contextlib.suppress(ValueError):
            return [json.loads(line) for line in path.read_text().splitlines()[1:]]
        return []

    def noted():
        found = [entries(path) for path in (folder / "study" / "runs" / "fno-quick-s0").glob("journal-*")]
        return len(found) == 4 and all(e and e[-1]["energy"]["cpu"]["joules"] > 5 for e in found)

    class Spending(EnergyMeter):
        windows = 0

        @contextlib.contextmanager
        def window(self):
            self.windows += 1
            with super().window() as window:
                distributed.barrier()
                yield window
                spend(spent)
            with (host / f"windows-{local}.jsonl").open("a") as log:
                log.write(window.breakdown().model_dump_json() + "\\n")

    class Elsewhere(Place):
        def meter(self, device, watts_per_core):
            return Spending(gpus=self.gpus, rapl_root=self.rapl_root)

    def watch_and_kill(watch):
        # In the second epoch of the first sitting something is spent, noted in all journals, and lost.
        @contextlib.contextmanager
        def watched(journal, epoch, window):
            with watch(journal, epoch, window):
                if epoch == 2 and not killed.exists():
                    spend(lost)
                    if sys.argv[2] == "b" and local == 1:
                        while not noted():
                            time.sleep(0.05)
                        killed.touch()
                        os.kill(os.getpid(), signal.SIGKILL)
                yield
        return watched

    from ptprof.train.journal import Journal
    Journal.watch = watch_and_kill(Journal.watch)
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
    train(
        Study(folder / "study"),
        "fno",
        recipe,
        execution=Execution(batch=4),
        place=Elsewhere(root=host, rapl_root=host / "powercap", gpus=(rank,)),
    )
    """
)


class Two(NamedTuple):
    """A training by four processes on two machines, and the same by one process with a batch of as many."""

    folder: Path
    run: RunRecord
    log: list[Epoch]
    alone: list[Epoch]


def _machine(folder: Path) -> None:
    """What a machine says of itself: which it is, and its socket's counters."""
    boot_id = folder / "proc" / "sys" / "kernel" / "random" / "boot_id"
    boot_id.parent.mkdir(parents=True)
    boot_id.write_text(f"the start of {folder.name}\n")
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram")):
        path = folder / "powercap" / zone
        path.mkdir(parents=True)
        for file, content in (("name", name), ("max_energy_range_uj", 262_143_328_850), ("energy_uj", 5)):
            (path / file).write_text(f"{content}\n")


def _epochs(study: Study) -> list[Epoch]:
    lines = (study.run_folder("fno-quick-s0") / "epochs.jsonl").read_text().splitlines()
    return [Epoch.model_validate_json(line) for line in lines]


@pytest.fixture(scope="module")
def two(
    flows: Path,
    fake_nvidia: Path,
    tmp_path_factory: pytest.TempPathFactory,
    small_recipe: Callable[..., Recipe],
) -> Two:
    """A process of the second machine is killed in the second epoch; torchrun starts all of them again."""
    folder = tmp_path_factory.mktemp("hosts")
    # 22 windows: 16 in an epoch's first batch, 6 in its second and last one.
    recipe = small_recipe(max_epochs=2, steps_per_epoch=None)
    for study in ("study", "alone"):
        (folder / study).mkdir()
        (folder / study / "data").symlink_to(flows)
    (folder / "train.py").write_text(SCRIPT)
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        # Otherwise a second start finds the addresses of the first in torchrun's store.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "LD_LIBRARY_PATH": str(fake_nvidia),
        "FAKE_NVML_BOARDS": "4",
        "FAKE_NVML_TICK_S": "0.02",
    }
    started = []
    for host in ("a", "b"):
        _machine(folder / host)
        command: list[object] = [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 2),
            *("--max-restarts", 3, "--rdzv-id", "two", "--rdzv-backend", "c10d", "--rdzv-conf", "is_host=0"),
            *("--rdzv-endpoint", f"127.0.0.1:{meeting.port}", "--local-addr", "127.0.0.1"),
            *(folder / "train.py", folder, host, json.dumps([SPENT_J[host], LOST_J[host]])),
        ]
        with (folder / f"{host}.log").open("w") as log:
            words = [str(word) for word in command]
            started.append(subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT))
    try:
        ended = [process.wait(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert ended == [0, 0], "\n".join((folder / f"{host}.log").read_text() for host in ("a", "b"))
    alone = Study(folder / "alone")
    train(alone, "fno", recipe, execution=Execution(batch=16))
    study = Study(folder / "study")
    return Two(folder, study.run("fno"), _epochs(study), _epochs(alone))


@pytest.mark.gpu
def test_two_boards_train_together_by_nccl(
    flows: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]
) -> None:
    """Each process meters its own board, and the losses are those of one board with the doubled batch."""
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs two NVIDIA GPUs, and torch sees {torch.cuda.device_count()}")
    recipe = small_recipe(max_epochs=2, steps_per_epoch=None)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    for study in ("two", "one"):
        (tmp_path / study).mkdir()
        (tmp_path / study / "data").symlink_to(flows)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ptprof.records import Execution\n"
        "from ptprof.study import Study\n"
        "from ptprof.train import train\n"
        "from ptprof.train.recipe import Recipe\n"
        "recipe = Recipe.model_validate_json(Path(sys.argv[2]).read_text())\n"
        "train(Study(sys.argv[1]), 'fno', recipe, device='cuda', execution=Execution(batch=8))\n"
    )
    (tmp_path / "train.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*command, *map(str, (tmp_path / "train.py", tmp_path / "two", tmp_path / "recipe.json"))]
    subprocess.run(words, check=True, timeout=300)
    train(Study(tmp_path / "one"), "fno", recipe, device="cuda", execution=Execution(batch=16))
    together = Study(tmp_path / "two").run("fno")
    (host,) = together.hosts
    assert host.processes == len(set(host.boards)) == len(host.environment.gpus) == 2
    for ours, theirs in zip(_epochs(Study(tmp_path / "two")), _epochs(Study(tmp_path / "one")), strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-4)


def test_the_losses_are_those_of_one_process_with_the_batch_of_all(two: Two) -> None:
    assert len(two.log) == len(two.alone) == 2
    for ours, theirs in zip(two.log, two.alone, strict=True):
        assert ours.steps == theirs.steps == 2
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-6)
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-6)


def test_the_sockets_of_each_machine_count_once_and_its_boards_once(two: Two) -> None:
    windows = [
        [json.loads(line) for line in (two.folder / host / f"windows-{local}.jsonl").read_text().splitlines()]
        for host in ("a", "b")
        for local in (0, 1)
    ]
    for number, epoch in enumerate(two.log):
        present = epoch.energy.present
        assert present["cpu"].joules == pytest.approx(30 + 50)
        assert present["dram"].joules == pytest.approx(6 + 4)
        boards = [_figures(log[number], "gpu") for log in windows]
        assert len({board["gain_id"] for board in boards}) == 4
        assert present["gpu"].joules == pytest.approx(sum(board["joules"] for board in boards))
        # The gains of boards are independent of each other.
        systematic = sum((0.05 * board["joules"]) ** 2 for board in boards) ** 0.5
        assert present["gpu"].systematic * present["gpu"].joules == pytest.approx(systematic)


def _figures(breakdown: dict[str, Any], component: str) -> dict[str, Any]:
    figures: dict[str, Any] = breakdown[component]
    return figures


def test_what_both_machines_lost_is_known(two: Two) -> None:
    assert (two.folder / "killed").exists()
    lost = two.run.lost_energy
    assert lost is not None
    assert lost.present["cpu"].joules == pytest.approx(10 + 20)
    assert lost.present["dram"].joules == pytest.approx(2 + 1)
    assert two.run.energy.present["cpu"].joules == pytest.approx(2 * 80 + 30)
    assert two.run.duration_s == pytest.approx(sum(e.duration_s for e in two.log) + two.run.lost_s)


def test_the_record_tells_the_machines_the_processes_and_the_boards(two: Two) -> None:
    run = two.run
    assert run.execution.processes == 4
    assert [host.processes for host in run.hosts] == [2, 2]
    assert sorted(board for host in run.hosts for board in host.boards) == [f"GPU-fake-{n}" for n in range(4)]
    assert run.hosts[0].environment == run.environment
    names = sorted(p.name for p in Study(two.folder / "study").run_folder("fno-quick-s0").iterdir())
    assert names == ["checkpoint.pt", "epochs.jsonl", "run.json"]
