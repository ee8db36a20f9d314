"""What simulating a data set took is kept in its folder."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ptprof.energy.cpu import CPU_WATTS_PER_CORE
from ptprof.records import GenerationRecord
from ptprof.study import GENERATION, Study, read_record
from ptprof.train.data.generation import metered
from ptprof.train.recipe import Recipe


def test_the_work_is_metered_and_written_beside_the_data(tmp_path: Path, small_recipe: Recipe) -> None:
    study = Study(tmp_path)
    study.data.mkdir(parents=True)
    assert study.generation() is None
    spent: list[float] = []

    def simulate() -> None:
        begun = time.process_time()
        while time.process_time() < begun + 0.2:
            pass
        spent.append(time.process_time() - begun)

    metered(
        study.data, simulate, small_recipe, trajectories=6, device="cpu", watts_per_core=CPU_WATTS_PER_CORE
    )
    record = study.generation()
    assert record is not None
    data = small_recipe.data
    assert (record.trajectories, record.states, record.dt) == (6, data.steps, data.dt)
    assert record.simulated_s == pytest.approx(6 * (data.steps - 1) * data.dt)
    assert (record.grid, record.device) == (small_recipe.grid, "cpu")
    cpu = record.energy.cpu
    assert cpu is not None
    if cpu.source == "modelled":
        assert cpu.joules >= spent[0] * CPU_WATTS_PER_CORE
    assert cpu.joules > 0


def test_work_that_fails_leaves_no_record(tmp_path: Path, small_recipe: Recipe) -> None:
    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        metered(tmp_path, fail, small_recipe, trajectories=1, device="cpu", watts_per_core=6.0)
    assert not (tmp_path / GENERATION).exists()


def test_a_data_set_says_what_it_took(data_set: Path, small_recipe: Recipe) -> None:
    record = read_record(data_set / GENERATION, GenerationRecord)
    assert (record.trajectories, record.grid) == (24 // 2, small_recipe.grid)
    assert record.duration_s > 0
    assert record.energy.present
