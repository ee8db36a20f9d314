"""Several processes that train one model: started by torchrun, and compared with one that does it alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest
from torch.distributed import TCPStore

from ptprof.errors import StudyError, UsageError
from ptprof.records import Energy, EnergyBreakdown, Epoch, Execution
from ptprof.study import Study
from ptprof.train import train
from ptprof.train.processes import first_to_fail, gathered, leads, processes, rank, together
from ptprof.train.recipe import Recipe

MODELS = ("fno", "unet-cn")
TRAIN = dedent(
    """
    import os, signal, sys, time
    from pathlib import Path
    from rich.progress import Progress
    from ptprof.records import Execution
    from ptprof.study import Study
    from ptprof.train import train
    from ptprof.train.recipe import Recipe

    class Kill(Progress):
        def update(self, *args, completed=None, **changes):
            if completed == int(sys.argv[1]):
                time.sleep(1)
                os.kill(os.getpid(), signal.SIGKILL)
            super().update(*args, completed=completed, **changes)

    recipe = Recipe.model_validate_json(Path(sys.argv[3]).read_text())
    for model in sys.argv[4:]:
        execution = Execution(batch=8, accumulate=3)
        train(Study(sys.argv[2]), model, recipe, execution=execution, progress=Kill(disable=True))
    """
)


def torchrun(*arguments: object, timeout_s: float = 150) -> subprocess.CompletedProcess[str]:
    """Run two processes of a script or a module."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return subprocess.run(
        [*command, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment,
    )


def log(study: Study, model: str) -> list[Epoch]:
    lines = (study.run_folder(f"{model}-quick-s0") / "epochs.jsonl").read_text(encoding="utf-8").splitlines()
    return [Epoch.model_validate_json(line) for line in lines]


class Pair(NamedTuple):
    """Studies of the same trainings, by two processes together and by one with the doubled batch."""

    two: Study
    one: Study
    recipe: Recipe
    killed: subprocess.CompletedProcess[str]
    ended: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def pair(flows: Path, tmp_path_factory: pytest.TempPathFactory, small_recipe: Callable[..., Recipe]) -> Pair:
    """Two models trained either way; the two processes were killed in the second epoch of the first model."""
    folder = tmp_path_factory.mktemp("processes")
    # 22 windows: 16 in an epoch's first batch, 6 in its second and last one.
    recipe = small_recipe(max_epochs=2, steps_per_epoch=None)
    for study in ("two", "one"):
        (folder / study).mkdir()
        (folder / study / "data").symlink_to(flows)
    script, settings = folder / "train.py", folder / "recipe.json"
    script.write_text(TRAIN)
    settings.write_text(recipe.model_dump_json())
    killed = torchrun(script, 3, folder / "two", settings, *MODELS)
    ended = torchrun(script, -1, folder / "two", settings, *MODELS)
    assert ended.returncode == 0, ended.stderr
    for model in MODELS:
        train(Study(folder / "one"), model, recipe, execution=Execution(batch=16))
    return Pair(Study(folder / "two"), Study(folder / "one"), recipe, killed, ended)


@pytest.mark.parametrize("model", MODELS)
def test_two_processes_give_the_losses_of_one_with_the_doubled_batch(pair: Pair, model: str) -> None:
    alone = log(pair.one, model)
    assert len(alone) == pair.recipe.max_epochs
    for ours, theirs in zip(log(pair.two, model), alone, strict=True):
        assert ours.steps == theirs.steps == 2
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-6)
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-6)


def test_a_killed_process_ends_the_others_and_what_each_lost_is_known(pair: Pair) -> None:
    assert pair.killed.returncode != 0
    run = pair.two.run("fno")
    assert run.lost_energy is not None
    assert run.lost_s > 1
    # Both waited busily, or not, for a second: what counts is that the journals of both were read.
    assert run.lost_energy.joules is not None
    assert run.lost_energy.joules > 0
    whole = [*(e.energy for e in log(pair.two, "fno")), run.lost_energy]
    assert run.energy.joules == pytest.approx(sum(e.joules or 0 for e in whole))
    assert pair.two.run("unet-cn").lost_energy is None


def test_the_record_says_how_many_they_were(pair: Pair) -> None:
    for model in MODELS:
        execution = pair.two.run(model).execution
        assert (execution.processes, execution.batch, execution.accumulate) == (2, 8, 3)
        folder = pair.two.run_folder(f"{model}-quick-s0")
        assert sorted(p.name for p in folder.iterdir()) == ["checkpoint.pt", "epochs.jsonl", "run.json"]


def test_they_say_nothing_that_was_not_asked_for(pair: Pair) -> None:
    assert pair.ended.stdout == ""
    assert pair.ended.stderr == ""


def test_one_process_does_not_take_for_its_own_what_two_have_trained(pair: Pair) -> None:
    with pytest.raises(StudyError, match="differs in number of processes"):
        train(pair.two, "fno", pair.recipe, execution=Execution(batch=8, accumulate=3))


def test_one_of_them_tells_of_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """All make the same mistake at once, and ask the store that torchrun keeps who was first."""
    kept = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started = {
        "TORCHELASTIC_RUN_ID": "none",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(kept.port),
    }
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert [first_to_fail() for _ in range(3)] == [True, False, False]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert first_to_fail(), "torchrun has started them again"


def figure(joules: float, source: str, gain: str) -> Energy:
    return Energy(
        joules=joules, low=joules, high=joules, systematic=0, gain_id=gain, source=source, sensor="a sensor"
    )


def test_what_one_counter_measured_counts_once() -> None:
    """Each process has a GPU and its own CPU seconds; memory is counted for the whole machine."""
    parts = [
        EnergyBreakdown(
            gpu=figure(100, "measured", board),
            cpu=figure(10, "modelled", "cpu-model"),
            dram=figure(7, "measured", "socket-0"),
        )
        for board in ("GPU-a", "GPU-b")
    ]
    both = together(parts)
    assert {c: e.joules for c, e in both.present.items()} == {"gpu": 200, "cpu": 20, "dram": 7}
    assert together(parts[:1]).present == parts[0].present


def test_what_one_process_could_not_measure_is_missing() -> None:
    known = EnergyBreakdown(cpu=figure(10, "modelled", "cpu-model"), gpu=figure(5, "measured", "GPU-a"))
    without = EnergyBreakdown(cpu=figure(10, "modelled", "cpu-model"), missing={"gpu": "it fell off the bus"})
    both = together([known, without])
    assert both.gpu is None
    assert both.missing["gpu"] == "1 of 2 windows: it fell off the bus"
    assert both.joules == 20


def test_alone_nothing_is_waited_for() -> None:
    assert (processes(), rank(), leads(), gathered("x"), first_to_fail()) == (1, 0, True, ["x"], True)


def test_several_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="6 of 8 processes do not"):
        processes()
