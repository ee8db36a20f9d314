"""Windows for training and trajectories for rollouts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch
from torch.utils.data import DataLoader

from ptprof.errors import DataError, UsageError
from ptprof.records import Statistics
from ptprof.train.data import FIELDS, Windows, info, trajectories
from ptprof.train.data.preload import Preload

HISTORY = 4


@pytest.mark.parametrize("preload", ["memory", "device", False, None])
def test_every_window_is_a_slice_of_a_trajectory(data_set: Path, preload: Preload) -> None:
    """Order: time first, then trajectory; channel = step·4 + field; standardised by the train split's."""
    windows = Windows(data_set, "train", HISTORY, preload=preload)
    whole = trajectories(data_set, "train")
    statistics = info(data_set).statistics
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (statistics.mean, statistics.std))
    standardised = (whole - mean) / std
    assert len(windows) == 8 * (7 - HISTORY)
    assert (windows.grid, windows.fields, windows.history) == ((48, 64), FIELDS, HISTORY)
    for index in range(len(windows)):
        trajectory, start = divmod(index, 7 - HISTORY)
        states = standardised[trajectory, start : start + HISTORY + 1]
        window, target = windows[index]
        assert window.dtype == torch.float32
        torch.testing.assert_close(window, states[:HISTORY].reshape(16, 48, 64), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(target, states[HISTORY], rtol=1e-6, atol=1e-6)
    assert torch.equal(windows[-1][1], windows[len(windows) - 1][1])
    for index in (len(windows), -len(windows) - 1):
        with pytest.raises(IndexError):
            windows[index]


def test_train_windows_are_standard(data_set: Path) -> None:
    windows = Windows(data_set, "train", 1)
    targets = torch.stack([windows[i][1] for i in range(len(windows))])
    first = torch.stack([windows[i * 6][0] for i in range(8)])
    states = torch.cat([targets, first]).double()
    assert states.mean((0, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(
        states.std((0, 2, 3), correction=0), torch.ones(4, dtype=torch.float64), rtol=1e-5, atol=0
    )


def test_other_statistics(data_set: Path) -> None:
    own = Windows(data_set, "test", HISTORY)
    plain = Windows(
        data_set, "test", HISTORY, statistics=Statistics(fields=FIELDS, mean=(0.0,) * 4, std=(2.0,) * 4)
    )
    assert torch.equal(plain[0][1] * 2, trajectories(data_set, "test")[0, HISTORY])
    assert plain.statistics != own.statistics == Windows(data_set, "train", HISTORY).statistics


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_read_from_disk(data_set: Path) -> None:
    windows = Windows(data_set, "train", HISTORY, preload=False)
    here = [windows[index] for index in range(len(windows))]
    loader = DataLoader(windows, batch_size=None, num_workers=2)
    for (window, target), (expected, expected_target) in zip(loader, here, strict=True):
        assert torch.equal(window, expected)
        assert torch.equal(target, expected_target)
    copy: Windows = pickle.loads(pickle.dumps(windows))
    assert torch.equal(copy[5][0], here[5][0])


def test_trajectories_are_limited_from_the_first_on(data_set: Path) -> None:
    whole = trajectories(data_set, "train")
    assert whole.shape == (8, 7, 4, 48, 64)
    for limit in (1, 4, 5, 8, 9):
        assert torch.equal(trajectories(data_set, "train", limit=limit), whole[:limit])
    assert torch.equal(trajectories(data_set, "train", limit=2, steps=3), whole[:2, :3])
    assert torch.equal(trajectories(data_set, "train", steps=30), whole)
    for wrong in ({"limit": 0}, {"steps": -1}):
        with pytest.raises(UsageError, match="must be at least 1"):
            trajectories(data_set, "train", **wrong)


def test_files_of_two_lengths(own_copy: Callable[[], Path], data_set: Path) -> None:
    folder = own_copy()
    path = min((folder / "data" / "train").glob("*"))
    with h5py.File(path, "r+") as file:
        for name in ("t0_fields/tracer", "t0_fields/pressure", "t1_fields/velocity"):
            values = file[name][:, :6]
            del file[name]
            file[name] = values
        times = file["dimensions/time"][:6]
        del file["dimensions/time"]
        file["dimensions/time"] = times
    windows = Windows(folder, "train", HISTORY)
    assert len(windows) == 4 * 2 + 4 * 3
    reference = Windows(data_set, "train", HISTORY)
    assert torch.equal(windows[7][1], reference[10][1])
    assert torch.equal(windows[8][1], reference[12][1])
    assert torch.equal(trajectories(folder, "train"), trajectories(data_set, "train")[:, :6])
    assert [len(one) for (one,) in windows.trajectories(batch=1)] == [6] * 4 + [7] * 4
    assert [part.shape[:2] for part in windows.trajectories(batch=3)] == [(3, 6), (3, 6), (2, 7)]
    assert [part.shape[:2] for part in windows.trajectories(batch=5, steps=7)] == [(5, 6), (3, 6)]


def test_trajectories_too_short_for_a_window(data_set: Path) -> None:
    assert len(Windows(data_set, "test", 6)) == 2
    with pytest.raises(DataError, match="holds 7 times, and at least 8 are needed"):
        Windows(data_set, "test", 7)


def test_a_split_that_is_not_there(data_set: Path) -> None:
    with pytest.raises(DataError, match="holds no validation data"):
        Windows(data_set, "validation", HISTORY)
