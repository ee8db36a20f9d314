"""Synthetic windows: as many as the recipe has, like standardised fields, repeated."""

from __future__ import annotations

import pytest
import torch

from ptprof.records import Statistics
from ptprof.train.data.shear_flow import FIELDS
from ptprof.train.data.synthetic import WINDOWS, SyntheticWindows, states, windows
from ptprof.train.recipe import load_recipe


def test_they_are_as_many_as_the_papers() -> None:
    paper = load_recipe("paper").model_copy(update={"grid": (48, 96)})
    assert len(SyntheticWindows(paper, "train")) == 37_632
    assert len(SyntheticWindows(paper, "valid")) == 4_704


def test_windows_are_states_in_a_row_and_repeat() -> None:
    made = SyntheticWindows(load_recipe("quick"), "train")
    first, target = made[3]
    assert (first.shape, target.shape) == ((16, 48, 96), (4, 48, 96))
    following, _ = made[4]
    torch.testing.assert_close(first[4:], following[:12])
    torch.testing.assert_close(following[12:], target)
    again, _ = made[3 + WINDOWS]
    torch.testing.assert_close(again, first)
    assert made.preloaded == torch.device("cpu")


def test_states_are_standardised_and_smooth() -> None:
    made = states(6, (48, 96))
    assert made.dtype == torch.float32
    assert made.mean(dim=(-2, -1)).abs().max() < 1e-5
    torch.testing.assert_close(made.std(dim=(-2, -1)), torch.ones(6, 4))
    power = torch.fft.rfft2(made).abs().square().mean(dim=(0, 1))
    assert power[:6, :6].sum() > 0.5 * power[:24].sum()
    assert (made[0] - made[1]).abs().mean() > 0.1


def test_windows_to_ask_with_are_in_the_units_of_the_statistics() -> None:
    statistics = Statistics(fields=FIELDS, mean=(1.0, 2.0, 3.0, 4.0), std=(0.1, 0.2, 0.3, 0.4))
    made = windows(3, 4, (48, 96), statistics)
    assert made.shape == (3, 4, 4, 48, 96)
    for channel in range(4):
        assert made[:, :, channel].mean() == pytest.approx(statistics.mean[channel], abs=1e-4)
        assert made[:, :, channel].std() == pytest.approx(statistics.std[channel], rel=1e-3)
