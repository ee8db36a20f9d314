"""Trained models scored again: on which data, with which statistics, and what is kept to be looked at."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from ptprof import workflows
from ptprof.errors import DataError, StudyError
from ptprof.records import EnergyBreakdown, RunRecord, Statistics
from ptprof.study import Study, write_record
from ptprof.train.checkpoint import save_weights, weights_of
from ptprof.train.data import DatasetInfo, Windows, info
from ptprof.train.data.statistics import read_statistics
from ptprof.train.evaluate import accuracy, persistence
from ptprof.train.evaluation import _settings, evaluate
from ptprof.train.models import build
from ptprof.train.recipe import load_recipe

Make = Callable[..., Any]


def untrained(study: Study, make_run: Make, **changes: Any) -> RunRecord:
    """A run whose weights are as they were initialised."""
    torch.manual_seed(3)
    path = study.run_folder("fno-quick-s0") / "checkpoint.pt"
    sha256 = save_weights(path, "fno", weights_of(build("fno", "quick")))
    facts = {"checkpoint_sha256": sha256, "statistics": read_statistics(study.data)}
    run: RunRecord = make_run("fno", EnergyBreakdown(), **(facts | changes))
    return run


def module() -> torch.nn.Module:
    torch.manual_seed(3)
    return build("fno", "quick").eval()


def test_a_run_is_scored_as_after_its_training(new_study: Study, make_run: Make) -> None:
    run = untrained(new_study, make_run)
    [(evaluation, _)] = evaluate(new_study, [run], steps=4)
    windows = Windows(new_study.data, "test", 4)
    expected = accuracy(module(), windows, rollout_steps=4, batch=8)
    assert evaluation.accuracy.model_dump() == expected.model_dump()
    assert evaluation.persistence == accuracy(persistence(4), windows, rollout_steps=4, batch=8)
    assert (evaluation.run, evaluation.model, evaluation.data) == (run.run, "fno", str(new_study.data))
    assert len(evaluation.accuracy.rollout) == 4


def test_a_rollout_is_as_long_as_the_recipe_says_or_the_data_allow(new_study: Study, make_run: Make) -> None:
    # The recipe's 20 steps are more than the 14 states, of which 4 are known.
    [(evaluation, example)] = evaluate(new_study, [untrained(new_study, make_run)])
    assert len(evaluation.accuracy.rollout) == 10
    assert example.steps == (1, 2, 5, 8, 10)


def test_the_example_is_the_first_trajectory_and_its_rollout(new_study: Study, make_run: Make) -> None:
    run = untrained(new_study, make_run)
    [(_, example)] = evaluate(new_study, [run], steps=6)
    assert example.steps == (1, 2, 3, 4, 6)
    assert example.times == pytest.approx((0.4, 0.5, 0.6, 0.7, 0.9))
    path = min(new_study.data.joinpath("data", "test").iterdir())
    with h5py.File(path) as file:
        velocity = file["t1_fields/velocity"][0]
        tracer = file["t0_fields/tracer"][0]
    kept = [4, 5, 6, 7, 9]
    assert np.array_equal(example.truth[:, 0], tracer[kept])
    assert np.array_equal(example.truth[:, 3], velocity[kept, ..., 1])
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (run.statistics.mean, run.statistics.std))
    state = next(Windows(new_study.data, "test", 4).trajectories(batch=1, steps=4))
    window = ((state - mean) / std).flatten(1, 2)
    with torch.inference_mode():
        first = module()(window)
        second = module()(torch.cat([window[:, 4:], first], 1))
    assert example.forecast[0] == pytest.approx((first * std + mean)[0].numpy(), abs=1e-5)
    assert example.forecast[1] == pytest.approx((second * std + mean)[0].numpy(), abs=1e-5)


def test_a_run_brings_its_own_statistics(new_study: Study, make_run: Make) -> None:
    fields = read_statistics(new_study.data).fields
    other = Statistics(fields=fields, mean=(0.1, 0.0, -0.2, 0.0), std=(1.0, 0.1, 2.0, 0.3))
    run = untrained(new_study, make_run, statistics=other)
    [(evaluation, _)] = evaluate(new_study, [run], steps=2)
    expected = accuracy(
        module(), Windows(new_study.data, "test", 4, statistics=other), rollout_steps=2, batch=8
    )
    assert evaluation.accuracy == expected


def test_data_elsewhere(new_study: Study, make_run: Make, tmp_path: Path) -> None:
    run = untrained(new_study, make_run)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(new_study.data)
    [(here, _)], [(there, _)] = (list(evaluate(new_study, [run], data=d, steps=1)) for d in (None, elsewhere))
    assert there.data == str(elsewhere)
    assert there.accuracy == here.accuracy
    with pytest.raises(DataError, match="holds no"):
        list(evaluate(new_study, [run], data=tmp_path / "nothing"))


def test_what_cannot_be_scored_is_said(new_study: Study, make_run: Make) -> None:
    with pytest.raises(DataError, match=r"48×96.*64×128"):
        list(evaluate(new_study, [untrained(new_study, make_run, grid=(64, 128))]))
    with pytest.raises(StudyError, match="checkpoint"):
        list(evaluate(new_study, [untrained(new_study, make_run, checkpoint_sha256="0")]))


@pytest.mark.parametrize(
    ("held_flows", "chosen"),
    [
        ([(1e4, 0.1), (1e5, 1.0), (5e4, 1.0)], True),
        ([(10000.3, 0.1)], True),
        ([(5e4, 0.1), (1e4, 0.2)], False),
        ([], False),
    ],
)
def test_the_paper_s_flows_are_taken_where_there_are_any(
    new_study: Study, held_flows: list[tuple[float, float]], chosen: bool
) -> None:
    scalars = (*({"Reynolds": r, "Schmidt": s} for r, s in held_flows), {"gamma": 1.0})
    held: DatasetInfo = info(new_study.data).model_copy(update={"scalars": scalars})
    paper = load_recipe("paper")
    assert _settings(paper, held) == (paper.data.settings if chosen else None)
    assert _settings(load_recipe("quick"), held) is None


def test_the_command_draws_and_leaves_the_run_as_it_is(new_study: Study, make_run: Make) -> None:
    run = untrained(new_study, make_run)
    record = new_study.run_folder(run.run) / "run.json"
    write_record(record, run)
    before = record.read_bytes()
    console = Console(file=io.StringIO(), width=200)
    [evaluation] = workflows.evaluate(
        new_study,
        ["fno"],
        run=None,
        data=None,
        steps=3,
        device="cpu",
        out=None,
        progress=Progress(console=console, disable=True),
    )
    assert len(evaluation.accuracy.rollout) == 3
    assert record.read_bytes() == before
    drawn = {path.name for path in new_study.report.iterdir()}
    assert drawn == {"accuracy.png", "physics.png", "rollout-fno-quick-s0.png"}
    assert str(new_study.report) in console.file.getvalue()
