"""Batches from files and from memory, read here and by workers."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ptprof.errors import DataError, UsageError
from ptprof.train.data import Windows
from ptprof.train.data.loader import batches
from ptprof.train.data.preload import Preload
from ptprof.train.data.states import StateFile

HISTORY = 4
COUNT = 24


def order(batch: int = 5, seed: int = 0) -> list[Tensor]:
    """The small data set's windows in a random order; the last batch is a short one."""
    shuffled = torch.randperm(COUNT, generator=torch.Generator().manual_seed(seed))
    return list(torch.split(shuffled, batch))


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("preload", ["memory", "device", False])
def test_batches_are_the_windows_in_the_order_given(data_set: Path, preload: Preload, workers: int) -> None:
    """The same bits, whoever reads them and from wherever."""
    windows = Windows(data_set, "train", HISTORY, preload=preload)
    reference = Windows(data_set, "train", HISTORY, preload=False)
    chosen = order()
    given = list(batches(windows, chosen, device="cpu", workers=workers))
    assert [len(inputs) for inputs, _ in given] == [5, 5, 5, 5, 4]
    for (inputs, targets), indices in zip(given, chosen, strict=True):
        assert inputs.is_contiguous()
        assert targets.is_contiguous()
        for place, index in enumerate(indices.tolist()):
            window, target = reference[index]
            assert torch.equal(inputs[place], window)
            assert torch.equal(targets[place], target)
    assert not loaders()


@pytest.mark.parametrize("workers", [0, 2])
def test_any_data_set_of_pairs(workers: int) -> None:
    inputs, targets = torch.randn(COUNT, 2, 3), torch.randn(COUNT, 3)
    given = list(batches(TensorDataset(inputs, targets), order(7), device="cpu", workers=workers))
    shuffled = torch.cat(order())
    assert torch.equal(torch.cat([i for i, _ in given]), inputs[shuffled])
    assert torch.equal(torch.cat([t for _, t in given]), targets[shuffled])


@pytest.mark.parametrize("preload", ["memory", False])
def test_workers_read_for_inference(data_set: Path, preload: Preload) -> None:
    """Inference mode is a thread's own: the caller may be in it, a worker never is."""
    windows = Windows(data_set, "train", HISTORY, preload=preload)
    with ThreadPoolExecutor(1) as pool, torch.inference_mode():
        inputs, targets = pool.submit(windows.read, [7, 3], *windows.room(2)).result()
        assert torch.equal(inputs[1], windows[3][0])
        assert torch.equal(targets[0], windows[7][1])


class Counted(Dataset[tuple[Tensor, Tensor]]):
    """Counts how often it was read."""

    def __init__(self) -> None:
        self.read = 0

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.read += 1
        return torch.tensor(index), torch.tensor(index)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_stay_a_few_batches_ahead(workers: int) -> None:
    """Batches of the paper's size are 168 MB each: an epoch of them must not pile up."""
    counted = Counted()
    loaded = batches(counted, torch.arange(100).split(1), device="cpu", workers=workers)
    for given in range(1, 60):
        next(loaded)
        assert given <= counted.read <= given + workers
    loaded.close()
    assert counted.read <= 60 + workers
    assert not loaders()


def test_an_order_that_has_no_end() -> None:
    """Indices are taken as they are needed."""
    endless = (torch.tensor([step]) for step in iter(int, 1))
    loaded = batches(Counted(), endless, device="cpu", workers=2)
    assert [int(next(loaded)[0]) for _ in range(10)] == [0] * 10
    loaded.close()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_values_that_are_not_finite_arrive_as_the_one_line(
    own_copy: Callable[[], Path], workers: int
) -> None:
    folder = own_copy()
    path = min((folder / "data" / "train").glob("*"))
    with h5py.File(path, "r+") as file:
        file["t1_fields/velocity"][2, 5, 3, 4, 0] = np.nan
    windows = Windows(folder, "train", HISTORY, preload=False)
    says = f"{path}: velocity_x of trajectory 2, step 5 holds NaN or infinity"
    with pytest.raises(DataError) as caught:
        list(batches(windows, order(), device="cpu", workers=workers))
    assert str(caught.value) == says
    assert not loaders()
    with pytest.raises(DataError) as caught:
        Windows(folder, "train", HISTORY, preload="memory")
    assert str(caught.value) == says


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replaced(path: Path) -> None:
    anew = path.with_suffix(".new")
    anew.write_bytes(path.read_bytes())
    anew.replace(path)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("change", [cut_short, replaced])
def test_files_that_change_while_they_are_read(
    own_copy: Callable[[], Path], change: Callable[[Path], None], workers: int
) -> None:
    """An error and not a wait without end, nor half of old and half of new data."""
    folder = own_copy()
    windows = Windows(folder, "train", HISTORY, preload=False)
    loaded = batches(windows, order() * 3, device="cpu", workers=workers)
    next(loaded)
    for path in sorted((folder / "data" / "train").iterdir()):
        change(path)
    with pytest.raises(DataError, match="was changed while it was in use: start again"):
        list(loaded)
    assert not loaders()


def test_windows_in_a_process_that_begins_anew(data_set: Path) -> None:
    """Nothing of what a process has open goes into another."""
    windows = Windows(data_set, "train", HISTORY, preload=False)
    expected = torch.cat([targets for _, targets in batches(windows, order(), device="cpu", workers=2)])
    program = """if True:
        import pickle, sys, torch
        from ptprof.train.data.loader import batches
        windows, order = pickle.load(sys.stdin.buffer)
        targets = torch.cat([t for _, t in batches(windows, order, device="cpu", workers=2)])
        sys.stdout.buffer.write(targets.numpy().tobytes())
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((windows, order())),
        capture_output=True,
        check=True,
    )
    assert done.stdout == expected.numpy().tobytes()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_windows_in_a_forked_process(data_set: Path) -> None:
    """A fork has no threads but its own; those of the loader are made when they are needed.

    Compared as bytes: the threads of torch's own arithmetic do not come through a fork.
    """
    windows = Windows(data_set, "train", HISTORY, preload=False)

    def content() -> bytes:
        given = batches(windows, order(), device="cpu", workers=2)
        return b"".join(targets.numpy().tobytes() for _, targets in given)

    expected = content()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if content() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_small_splits_are_held(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows(data_set, "train", HISTORY)
    assert windows.preloaded == torch.device("cpu")
    assert windows.size_bytes == 8 * 7 * 4 * 48 * 64 * 4
    monkeypatch.setattr("ptprof.train.data.windows.PRELOADED_BYTES", windows.size_bytes - 1)
    assert Windows(data_set, "train", HISTORY).preloaded is None
    assert Windows(data_set, "train", HISTORY, preload="memory").preloaded == torch.device("cpu")


def test_more_than_there_is_room_for(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptprof.train.data.preload._memory_bytes", lambda: 1_000_000)
    with pytest.raises(UsageError, match=r"takes 0\.00275 GB of memory, and this machine has 0\.001 GB"):
        Windows(data_set, "train", HISTORY, preload="memory")


@pytest.mark.parametrize("preload", [False, "memory"])
def test_trajectories_are_read_a_few_at_a_time(
    data_set: Path, preload: Preload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In physical units, to the bit, however the windows are held."""
    windows = Windows(data_set, "train", HISTORY, preload=preload)
    rows: list[int] = []
    read = StateFile.read

    def counted(self: StateFile, row: int, *rest: object) -> None:
        rows.append(row)
        read(self, row, *rest)

    monkeypatch.setattr(StateFile, "read", counted)
    states = windows.trajectories(batch=3, steps=6)
    first = next(states)
    assert rows == [0, 1, 2]
    parts = [first, *states]
    assert [len(part) for part in parts] == [3, 3, 2]
    files = sorted((data_set / "data" / "train").iterdir())
    for number, trajectory in enumerate(torch.cat(parts)):
        with h5py.File(files[number // 4]) as file:
            row = number % 4
            assert np.array_equal(trajectory[:, 0], file["t0_fields/tracer"][row, :6])
            assert np.array_equal(trajectory[:, 1], file["t0_fields/pressure"][row, :6])
            assert np.array_equal(trajectory[:, 3], file["t1_fields/velocity"][row, :6, ..., 1])
    (whole,) = windows.trajectories(batch=9)
    assert whole.shape == (8, 7, 4, 48, 64)
    (cut,) = windows.trajectories(batch=8, steps=100)
    assert torch.equal(whole, cut)


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("preload", ["memory", "device", False])
def test_batches_on_a_gpu_are_those_on_the_cpu(data_set: Path, preload: Preload, workers: int) -> None:
    here = Windows(data_set, "train", HISTORY, preload=False)
    there = Windows(data_set, "train", HISTORY, preload=preload, device="cuda:0")
    assert there.preloaded == {"memory": torch.device("cpu"), "device": torch.device("cuda:0")}.get(preload)
    for (inputs, targets), (expected, following) in zip(
        batches(there, order(), device="cuda:0", workers=workers),
        batches(here, order(), device="cpu", workers=0),
        strict=True,
    ):
        assert inputs.device == targets.device == torch.device("cuda:0")
        assert torch.equal(inputs.cpu(), expected)
        assert torch.equal(targets.cpu(), following)
