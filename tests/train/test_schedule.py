"""The learning rate against values worked by hand, and the rules that stop a training."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.records import EnergyBreakdown, Epoch
from ptprof.train.loop import steps_per_epoch
from ptprof.train.recipe import FORECASTERS, Recipe, load_recipe
from ptprof.train.schedule import best, learning_rate, stop_reason


def recipe(**changes: object) -> Recipe:
    return load_recipe("quick").model_copy(update=changes)


def epochs(valid_losses: list[float], duration_s: float = 1.0) -> list[Epoch]:
    return [
        Epoch(
            epoch=number,
            steps=1,
            train_loss=1.0,
            valid_loss=loss,
            learning_rate=1.0,
            duration_s=duration_s,
            energy=EnergyBreakdown(),
        )
        for number, loss in enumerate(valid_losses, start=1)
    ]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.25),
        (1, 0.5),
        (3, 1.0),
        (4, 1.0),
        (6, (1 + math.cos(math.pi / 4)) / 2),
        (8, 0.5),
        (10, (1 - math.cos(math.pi / 4)) / 2),
        (12, 0.0),
        (20, 0.0),
    ],
)
def test_rate_rises_along_a_line_and_falls_along_a_cosine(step: int, expected: float) -> None:
    assert learning_rate(step, peak=1.0, warmup_steps=4, total_steps=12) == pytest.approx(expected, abs=1e-12)


@given(warmup=st.integers(0, 20), length=st.integers(1, 100), peak=st.floats(1e-6, 1.0))
def test_every_step_learns_and_none_beyond_the_peak(warmup: int, length: int, peak: float) -> None:
    total = warmup + length
    rates = [learning_rate(s, peak=peak, warmup_steps=warmup, total_steps=total) for s in range(total)]
    assert all(0 < rate <= peak for rate in rates)
    assert max(rates) == peak
    after = rates[max(0, warmup - 1) :]
    assert after == sorted(after, reverse=True)


def test_the_best_epoch_is_the_first_of_equals() -> None:
    assert best(epochs([3.0, 1.0, 2.0, 1.0])).epoch == 2


@pytest.mark.parametrize(
    ("losses", "patience", "stops"),
    [
        ([], 2, False),
        ([1.0, 2.0], 2, False),
        ([1.0, 2.0, 1.5], 2, True),
        ([1.0, 2.0, 0.9], 2, False),
        ([1.0, 2.0, 0.9, 0.9], 2, False),
        ([1.0, 2.0, 0.9, 0.9, 0.9], 2, True),
    ],
)
def test_patience_counts_epochs_since_the_best(losses: list[float], patience: int, stops: bool) -> None:
    reason = stop_reason(epochs(losses), recipe(patience=patience, max_epochs=100))
    assert (reason is not None) is stops
    assert reason is None or "2 epochs" in reason


def test_the_planned_end_stops() -> None:
    falling = [1.0 / n for n in range(1, 11)]
    assert stop_reason(epochs(falling[:9]), recipe(max_epochs=10)) is None
    assert stop_reason(epochs(falling), recipe(max_epochs=10)) == "all 10 epochs done"


def test_hours_stop_before_the_epoch_that_would_pass_them() -> None:
    falling = epochs([1.0, 0.9, 0.8], duration_s=1000.0)
    within = recipe(max_hours=1.2, max_epochs=100)
    assert stop_reason(falling, within) is None
    assert stop_reason(falling, recipe(max_hours=1.1, max_epochs=100)) == "another epoch would pass 1.1 hours"
    assert stop_reason([], recipe(max_hours=1e-9)) is None


def test_recipe_paper_is_the_papers_protocol() -> None:
    """Section 3 and appendix C of arXiv:2509.24517, and 37,632 windows in batches of 16."""
    paper = load_recipe("paper")
    assert (paper.grid, paper.history, paper.batch, paper.steps_per_epoch) == ((256, 512), 4, 16, None)
    assert (paper.weight_decay, paper.patience, paper.max_hours, paper.rollout_steps) == (1e-4, 6, 24, 20)
    rates = {name: model.learning_rate for name, model in paper.models.items()}
    for name in FORECASTERS:
        assert rates[name] == (5e-4 if name.startswith("unet") else 1e-3), name
    steps = steps_per_epoch(37_632, paper)
    assert steps == 2352
    warmup_steps, total_steps = paper.warmup_epochs * steps, paper.max_epochs * steps

    def rate(step: int) -> float:
        return learning_rate(step, peak=1e-3, warmup_steps=warmup_steps, total_steps=total_steps)

    assert rate(0) == pytest.approx(1e-3 / (3 * 2352))
    assert rate(3 * 2352 - 1) == 1e-3
    assert rate((3 * 2352 + total_steps) // 2) == pytest.approx(5e-4)


@pytest.mark.parametrize(("hours", "goes_on"), [(23.0, True), (23.5, False), (24.5, False)])
def test_the_limit_of_the_paper_is_kept_by_whole_epochs(hours: float, goes_on: bool) -> None:
    """Epochs of an hour: after 23 one more fits into 24, half an hour later it does not."""
    paper = load_recipe("paper")
    done = epochs([1.0 - 0.01 * n for n in range(round(hours))], duration_s=3600.0)
    spent = done[0].model_copy(update={"duration_s": 3600.0 + (hours - len(done)) * 3600})
    reason = stop_reason([spent, *done[1:]], paper)
    assert (reason is None) == goes_on


@pytest.mark.parametrize(
    ("windows", "processes", "steps"), [(100, 1, 13), (100, 2, 7), (96, 2, 6), (5, 4, 1), (10_000, 2, 35)]
)
def test_processes_share_the_steps_of_an_epoch(windows: int, processes: int, steps: int) -> None:
    assert steps_per_epoch(windows, load_recipe("quick"), processes) == steps
