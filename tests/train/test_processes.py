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

from ptprof.energy.combine import energy
from ptprof.errors import StudyError, UsageError
from ptprof.records import Energy, EnergyBreakdown, Epoch, Execution, Source
from ptprof.study import Study
from ptprof.train import run_folder, train
from ptprof.train.checkpoint import Settings
from ptprof.train.processes import (
    Share,
    first_to_fail,
    from_first,
    gathered,
    leads,
    nodes,
    processes,
    rank,
    together,
)
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


def test_one_of_them_tells_of_a_mistake(tmp_path: Path) -> None:
    """All make the same mistake at once, and torchrun adds its report."""
    (tmp_path / "study").write_text("no folder")
    failed = torchrun("-m", "ptprof", "--study", tmp_path / "study", "train", "fno", "--device", "cpu")
    told = f"ptprof: {tmp_path / 'study'} is a file, not a study folder"
    assert failed.returncode != 0
    assert failed.stderr.splitlines().count(told) == 1


def test_each_start_has_a_line_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in ("attempt_0", "attempt_1"):
        for rank_here in ("0", "1"):
            (tmp_path / attempt / rank_here).mkdir(parents=True)
            told = tmp_path / attempt / rank_here / "error.json"
            monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(told))
            assert first_to_fail() == (rank_here == "0")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "gone" / "0" / "error.json"))
    assert first_to_fail()


def figure(joules: float, source: Source, gain: str, systematic: float = 0) -> Energy:
    return energy(joules, 0, systematic=systematic, gain_id=gain, source=source, sensor="a sensor")


def beside(*parts: tuple[str, EnergyBreakdown]) -> EnergyBreakdown:
    """What the processes spent together, each on a machine."""
    return together(Share(host=host, duration_s=1, energy=energy) for host, energy in parts).energy


def process(board: str, socket: str = "socket-0") -> EnergyBreakdown:
    """Of one process: its GPU, its own CPU seconds, and the memory of its whole machine."""
    return EnergyBreakdown(
        gpu=figure(100, "measured", board),
        cpu=figure(10, "modelled", "cpu-model"),
        dram=figure(7, "measured", socket),
    )


def test_what_one_counter_measured_counts_once() -> None:
    both = beside(("here", process("GPU-a")), ("here", process("GPU-b")))
    assert {c: e.joules for c, e in both.present.items()} == {"gpu": 200, "cpu": 20, "dram": 7}
    assert beside(("here", process("GPU-a"))).present == process("GPU-a").present


def test_counters_of_one_name_on_two_machines_are_two() -> None:
    """Two processes on each of two machines, whose sockets are called the same."""
    parts = [("one", "GPU-a"), ("one", "GPU-b"), ("two", "GPU-c"), ("two", "GPU-d")]
    all_four = beside(*((host, process(board)) for host, board in parts))
    assert {c: e.joules for c, e in all_four.present.items()} == {"gpu": 400, "cpu": 40, "dram": 14}


def test_a_shared_error_adds_up_and_others_add_in_quadrature() -> None:
    """The model of the CPU errs alike everywhere; every board and every socket by itself."""

    def spent(board: str, socket: str) -> EnergyBreakdown:
        return EnergyBreakdown(
            gpu=figure(300, "measured", board, 0.05),
            cpu=figure(10, "modelled", "cpu-model", 0.5),
            dram=figure(40, "measured", socket, 0.2),
        )

    both = beside(("one", spent("GPU-a", "rapl-1")), ("two", spent("GPU-b", "rapl-2")))
    half = {c: e.high - e.joules for c, e in both.present.items()}
    assert half == pytest.approx({"gpu": 2**0.5 * 15, "cpu": 10, "dram": 2**0.5 * 8})


def test_one_machine_measures_what_another_models() -> None:
    """Of the first machine the socket counts once, of the second the CPU seconds of each process."""
    socket = EnergyBreakdown(cpu=figure(50, "measured", "rapl-1"))
    seconds = EnergyBreakdown(cpu=figure(10, "modelled", "cpu-model"))
    cpu = beside(("one", socket), ("one", socket), ("two", seconds), ("two", seconds)).cpu
    assert cpu is not None
    assert (cpu.joules, cpu.source) == (70, "modelled")


def test_the_slowest_process_gives_the_time() -> None:
    energy = EnergyBreakdown(cpu=figure(10, "modelled", "cpu-model"))
    assert together([Share(duration_s=s, energy=energy) for s in (2, 5, 3)]).duration_s == 5


def test_what_one_process_could_not_measure_is_missing() -> None:
    known = EnergyBreakdown(cpu=figure(10, "modelled", "cpu-model"), gpu=figure(5, "measured", "GPU-a"))
    without = EnergyBreakdown(cpu=figure(10, "modelled", "cpu-model"), missing={"gpu": "it fell off the bus"})
    both = beside(("here", known), ("here", without))
    assert both.gpu is None
    assert both.missing["gpu"] == "1 of 2 windows: it fell off the bus"
    assert both.joules == 20


def test_alone_nothing_is_waited_for() -> None:
    assert (processes(), nodes(), rank(), leads(), first_to_fail()) == (1, (1, 1), 0, True, True)
    assert (gathered("x"), from_first(lambda: "x")) == (["x"], "x")


def under_torchrun(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", **settings}.items():
        monkeypatch.setenv(name, value)


def test_machines_have_as_many_processes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    under_torchrun(monkeypatch, LOCAL_WORLD_SIZE="4", GROUP_WORLD_SIZE="2", WORLD_SIZE="8")
    assert nodes() == (2, 4)
    under_torchrun(monkeypatch, LOCAL_WORLD_SIZE="4", GROUP_WORLD_SIZE="2", WORLD_SIZE="6")
    with pytest.raises(UsageError, match="6 processes on 2 machines, 4 of them here: give every torchrun"):
        nodes()


def test_a_study_that_another_machine_does_not_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "processes", lambda: 2)
    seen: list[bool] = []

    def told(value: bool | None) -> list[bool | None]:
        seen.extend([] if value is None else [value])
        return [value, False]

    monkeypatch.setattr(run_folder, "gathered", told)
    with pytest.raises(
        StudyError, match=r"process 1 does not see what the first one writes in .*all machines"
    ):
        run_folder.everyone_sees(tmp_path)
    assert seen == [True], "the first one sees what it has written itself"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(run_folder, "gathered", lambda value: [value, value])
    run_folder.everyone_sees(tmp_path)


def test_processes_that_were_told_different_things_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Settings(model="fno", recipe="quick", recipe_sha256="r", seed=0, data_sha256="d", device="cpu")
    other = first.model_copy(update={"seed": 1, "data_sha256": "e"})
    monkeypatch.setattr(run_folder, "gathered", lambda _: [first, first, other])
    with pytest.raises(UsageError, match="process 2 differs from the first in seed and data: give the same"):
        run_folder.everyone_trains(other)
