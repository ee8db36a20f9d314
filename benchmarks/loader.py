"""Samples per second of ptprof's loader against `the_well.data.WellDataset`.

Both give shuffled batches of standardised windows of four states and the next, from the same files, which
lie in the page cache, with as many workers: the peer as its users run it, `ZScoreNormalization` in a
`torch.utils.data.DataLoader` with persistent workers, ours as `train` runs it, from the files and preloaded.
The reordering to channels first that the peer's batches still need is not counted; glibc keeps freed
memory for both, as `train` has it. They take turns; a ratio is the median over the rounds of that within a
round, of a whole epoch each after one to warm up. Two workers need two cores that have nothing else to do.

    python benchmarks/loader.py --workers 0 --workers 2 --json results/loader.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader

from ptprof.environment import environment
from ptprof.runtimes.allocator import keep_memory
from ptprof.train.data import Windows
from ptprof.train.data.loader import batches
from ptprof.train.data.shear_flow import Flow
from ptprof.train.data.statistics import RunningStatistics, write_statistics
from ptprof.train.data.well import WellFile, file_name

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from the_well.data import WellDataset
    from the_well.data.normalization import ZScoreNormalization

HISTORY = 4
LAYOUTS: dict[str, tuple[int, ...] | bool | None] = {
    "contiguous": None,
    "a chunk for each state": (1, 1),
    "h5py's own chunks": True,
}
"""How the fields lie in the files; how they lie in The Well's is not documented."""


def write(folder: Path, grid: tuple[int, int], states: int, layout: str) -> None:
    """Two files of two trajectories of random states, in The Well's layout."""
    running = RunningStatistics()
    random = np.random.default_rng(0)
    for schmidt in (0.1, 1.0):
        flows = [Flow(1e4, schmidt, n_shear=2, n_blobs=2, width=w) for w in (1.0, 2.0)]
        path = folder / "data" / "train" / file_name(1e4, schmidt)
        with WellFile(path, flows, grid, [0.1 * step for step in range(states)], "random") as file:
            for step in range(states):
                values = random.standard_normal((len(flows), 4, *grid), dtype=np.float32)
                running.add(values)
                for row, state in enumerate(values):
                    file.write(row, step, state)
        rechunk(path, LAYOUTS[layout])
    write_statistics(folder, [running])


def rechunk(path: Path, chunks: tuple[int, ...] | bool | None) -> None:
    """Lay the fields of a file out in chunks, whose missing sides are the grid's."""
    if chunks is None:
        return
    with h5py.File(path, "r+") as file:
        for name in ("t0_fields/tracer", "t0_fields/pressure", "t1_fields/velocity"):
            values, attributes = file[name][()], dict(file[name].attrs)
            sides = chunks if isinstance(chunks, bool) else (*chunks, *values.shape[len(chunks) :])
            del file[name]
            file.create_dataset(name, data=values, chunks=sides).attrs.update(attributes)


def peer(folder: Path, batch: int, workers: int) -> Callable[[], Iterable[Any]]:
    """An epoch of The Well's data set, as its users load it."""
    dataset = WellDataset(
        path=str(folder),
        well_split_name="train",
        n_steps_input=HISTORY,
        n_steps_output=1,
        use_normalization=True,
        normalization_type=ZScoreNormalization,
    )
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    return lambda: loader


def ours(
    folder: Path, batch: int, workers: int, device: str, *, preloaded: bool
) -> Callable[[], Iterable[Any]]:
    """An epoch of ours, in an order drawn as the training draws it."""
    windows = Windows(folder, "train", HISTORY, preload="device" if preloaded else False, device=device)
    generator = torch.Generator().manual_seed(0)

    def epoch() -> Iterable[Any]:
        order = torch.randperm(len(windows), generator=generator)
        return batches(windows, torch.split(order, batch), device=device, workers=workers)

    return epoch


def rate(epoch: Callable[[], Iterable[Any]], samples: int, device: str) -> float:
    """Samples per second of a whole epoch, on the device."""
    begun = time.perf_counter()
    for batch in epoch():
        if isinstance(batch, dict):
            for value in batch.values():
                value.to(device, non_blocking=True)
    if device != "cpu":
        torch.cuda.synchronize()
    return samples / (time.perf_counter() - begun)


def measure(folder: Path, layout: str, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """Both loaders, and ours preloaded, in turns."""
    samples = 4 * (options.states - HISTORY)
    device = options.device
    rivals = {
        "the_well": peer(folder, options.batch, workers),
        "ptprof": ours(folder, options.batch, workers, device, preloaded=False),
        "ptprof_preloaded": ours(folder, options.batch, workers, device, preloaded=True),
    }
    for epoch in rivals.values():
        rate(epoch, samples, device)
    rounds = [
        {name: rate(epoch, samples, device) for name, epoch in rivals.items()} for _ in range(options.rounds)
    ]
    result: dict[str, Any] = {"layout": layout, "workers": workers, "samples": samples}
    result["samples_per_s"] = {name: statistics.median(r[name] for r in rounds) for name in rivals}
    for name in ("ptprof", "ptprof_preloaded"):
        result[f"{name}_ratio"] = statistics.median(r[name] / r["the_well"] for r in rounds)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--grid", default="256x512", help="XxY (default: 256x512)")
    parser.add_argument("--states", type=int, default=44, help="of each of the four trajectories")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, action="append", help="several allowed; default 0 and 2")
    parser.add_argument("--layout", choices=LAYOUTS, action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="where to put the files for a while")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    keep_memory()
    X, Y = (int(side) for side in options.grid.split("x"))

    results = []
    print(
        f"{'layout':24}{'workers':>8}{'the_well':>12}{'ptprof':>12}{'ratio':>7}{'preloaded':>12}{'ratio':>7}"
    )
    for layout in options.layout or LAYOUTS:
        with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
            folder = Path(temporary)
            write(folder, (X, Y), options.states, layout)
            for workers in options.workers or [0, 2]:
                result = measure(folder, layout, workers, options)
                results.append(result)
                figures = result["samples_per_s"]
                print(
                    f"{layout:24}{workers:8}{figures['the_well']:10.1f}/s{figures['ptprof']:10.1f}/s"
                    f"{result['ptprof_ratio']:7.2f}{figures['ptprof_preloaded']:10.1f}/s"
                    f"{result['ptprof_preloaded_ratio']:7.2f}",
                    flush=True,
                )
    if options.json:
        document = {
            "what": "samples per second of the_well.data.WellDataset 1.2.0 and of ptprof's loader, in turns",
            "grid": [X, Y],
            "batch": options.batch,
            "history": HISTORY,
            "device": options.device,
            "rounds": options.rounds,
            "results": results,
            "environment": environment().model_dump(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
