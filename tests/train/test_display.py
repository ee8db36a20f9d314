"""What a training shows while it runs."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.progress import Progress

from ptprof.records import Energy, EnergyBreakdown, Epoch
from ptprof.train.display import Display


@pytest.fixture
def epoch(make_energy: Callable[..., Energy]) -> Epoch:
    return Epoch(
        epoch=2,
        steps=5,
        train_loss=0.1234,
        valid_loss=0.2345,
        learning_rate=1e-3,
        duration_s=90.0,
        energy=EnergyBreakdown(cpu=make_energy(1234.0)),
    )


def shown(epoch: Epoch, *, terminal: bool, enabled: bool = True) -> str:
    """What is written for an epoch of 4 planned ones."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200)
    display = Display(Progress(console=console, disable=not enabled), "fno")
    display.begin(5, of=20)
    display.step(2, 10, 0.1234)
    display.epoch(epoch)
    display.end()
    return text.getvalue()


def test_a_log_has_a_line_an_epoch_with_losses_cost_and_the_time_left(epoch: Epoch) -> None:
    said = "fno epoch 2 train 0.123 valid 0.234, 90 s, 1.23e+03 J, at most 0:03:00 left\n"
    assert shown(epoch, terminal=False) == said


def test_a_terminal_has_its_bar_and_no_lines(epoch: Epoch) -> None:
    assert "at most" not in shown(epoch, terminal=True)


def test_who_asks_for_quiet_sees_nothing(epoch: Epoch) -> None:
    assert shown(epoch, terminal=False, enabled=False) == ""


def test_a_training_that_stopped_early_is_complete() -> None:
    progress = Progress(disable=True)
    display = Display(progress, "fno")
    display.begin(0, of=20)
    display.step(1, 7, 0.5)
    display.end()
    assert (progress.tasks[0].completed, progress.tasks[0].total) == (7, 7)
