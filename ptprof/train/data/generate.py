"""Simulating a whole data set into a folder, which appears when it is complete and not before."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from ptprof.energy import CPU_WATTS_PER_CORE
from ptprof.environment import cores
from ptprof.errors import DataError, UsageError
from ptprof.progress import progress_bar
from ptprof.study import GENERATION
from ptprof.train.data.generation import metered
from ptprof.train.data.parallel import in_parallel
from ptprof.train.data.reading import SPLITS, DatasetInfo, info, read_headers
from ptprof.train.data.shear_flow import FIELDS, Flow, simulate_batch
from ptprof.train.data.statistics import FILE as STATISTICS_FILE
from ptprof.train.data.statistics import RunningStatistics, write_statistics
from ptprof.train.data.well import WellFile, file_name
from ptprof.train.recipe import Recipe, check_grid

SOLVER_VERSION = 1
"""Raised when the same recipe would give other numbers."""

SPLIT_SEED = 5
"""Of the shuffle that deals initial conditions out; with it each split of recipe quick has every n_shear."""

POINTS_AT_ONCE = {"cpu": 8 * 48 * 96, "cuda": 32 * 256 * 512}
"""Grid points simulated together: on a CPU what its caches hold, on a GPU some gigabytes."""


@dataclass(frozen=True)
class Place:
    """Where a flow goes: its split, its setting's file, its row in that file."""

    flow: Flow
    split: str
    file: str
    row: int


def generate(
    folder: Path,
    recipe: Recipe,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    force: bool = False,
    watts_per_core: float = CPU_WATTS_PER_CORE,
) -> DatasetInfo:
    """Simulate the data of ``recipe`` into ``folder``, in The Well's layout, and meter what that takes.

    A data set of the same recipe that is there already is left as it is. Work goes on in a hidden folder
    beside, which replaces ``folder`` at the end; one that a killed process left is begun again.

    Parameters
    ----------
    device : where to simulate
    force : simulate again, and replace a data set that ptprof made
    watts_per_core : for the model of the CPU, W, where its energy is modelled

    Raises
    ------
    UsageError : a recipe that cannot be simulated
    DataError : a folder that holds something else, a full disk, another process at work on it
    UnresolvedFlow : a flow that the recipe's grid cannot resolve
    """
    folder = Path(folder).resolve()
    check_grid(recipe.grid)
    made_of = provenance(recipe)
    places = plan(recipe)
    staging = folder.with_name(f".{folder.name}.partial")
    replaced = folder.with_name(f".{folder.name}.replaced")
    try:
        if not folder.exists() and replaced.exists():
            replaced.rename(folder)
        if folder.exists() and any(folder.iterdir()):
            if not force:
                _check_same(folder, made_of)
                return info(folder)
            _check_ours(folder)
        with _staged(staging):
            _check_space(staging, recipe, len(places))
            metered(
                staging,
                partial(_simulate_into, staging, places, recipe, made_of, device, progress),
                recipe,
                trajectories=len(places),
                device=device,
                watts_per_core=watts_per_core,
            )
            _swap(staging, folder, replaced)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from None
    return info(folder)


def plan(recipe: Recipe) -> list[Place]:
    """Every flow of a recipe and its place, all settings of an initial condition in one split.

    Raises
    ------
    UsageError : too few initial conditions to split, settings that share a file's name, a flow that cannot be
    """
    data = recipe.data
    conditions = list(itertools.product(data.n_shear, data.n_blobs, data.width))
    if data.steps < 2:
        raise UsageError(f"recipe {recipe.name!r} must have at least two states, and has {data.steps}")
    for name, values in (("an initial condition", conditions), ("a setting", data.settings)):
        if len(set(values)) < len(values):
            raise UsageError(f"recipe {recipe.name!r} lists {name} twice")
    if len({file_name(*setting) for setting in data.settings}) < len(data.settings):
        raise UsageError(f"recipe {recipe.name!r} has settings that are the same to six digits")
    places = []
    for split, chosen in _deal(conditions, recipe).items():
        for reynolds, schmidt in data.settings:
            for row, (n_shear, n_blobs, width) in enumerate(chosen):
                flow = Flow(reynolds, schmidt, n_shear, n_blobs, width)
                places.append(Place(flow, split, file_name(reynolds, schmidt), row))
    return places


def provenance(recipe: Recipe) -> str:
    """What determines the data of a recipe, as JSON."""
    settings = {"solver": SOLVER_VERSION, "grid": recipe.grid, **recipe.data.model_dump(mode="json")}
    return json.dumps(settings, sort_keys=True)


def _deal(
    conditions: list[tuple[int, int, float]], recipe: Recipe
) -> dict[str, list[tuple[int, int, float]]]:
    """Initial conditions by split, shuffled, then each split in the recipe's order."""
    shares = recipe.data.split
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise UsageError(f"recipe {recipe.name!r} splits by shares that are not positive or do not sum to 1")
    held_out = [max(1, round(share * len(conditions))) for share in shares[1:]]
    counts = [len(conditions) - sum(held_out), *held_out]
    if counts[0] < 1:
        raise UsageError(f"recipe {recipe.name!r} has too few initial conditions for three splits")
    order = iter(np.random.default_rng(SPLIT_SEED).permutation(len(conditions)).tolist())
    return {
        split: [conditions[i] for i in sorted(itertools.islice(order, count))]
        for split, count in zip(SPLITS, counts, strict=True)
    }


def _batches(places: list[Place], recipe: Recipe, device: str) -> list[list[Place]]:
    """Batches of flows that need similar time steps, those hardest to resolve first."""
    points = POINTS_AT_ONCE["cpu" if device == "cpu" else "cuda"]
    size = max(1, points // (recipe.grid[0] * recipe.grid[1]))
    batches = []
    for kink in (1, 0):
        alike = [place for place in places if place.flow.n_blobs % 2 == kink]
        alike.sort(key=lambda place: (place.flow.layer_thickness, -place.flow.reynolds))
        batches += [alike[i : i + size] for i in range(0, len(alike), size)]
    return batches


def _simulate_into(
    folder: Path,
    places: list[Place],
    recipe: Recipe,
    made_of: str,
    device: str,
    progress: Progress | None,
) -> None:
    """Simulate all of ``places`` and write their files and statistics into ``folder``."""
    times = [round(step * recipe.data.dt, 9) for step in range(recipe.data.steps)]
    grouped: dict[tuple[str, str], list[Flow]] = {}
    for place in places:
        grouped.setdefault((place.split, place.file), []).append(place.flow)
    batches = _batches(places, recipe, device)
    statistics = [RunningStatistics() for _ in batches]
    display = progress or progress_bar(enabled=False)
    task = display.add_task("shear flow", total=len(places) * len(times))
    with ExitStack() as stack:
        files = {
            (split, name): stack.enter_context(
                WellFile(folder / "data" / split / name, flows, recipe.grid, times, made_of)
            )
            for (split, name), flows in grouped.items()
        }
        jobs = [partial(_states, batch, recipe, times, device) for batch in batches]
        workers = cores() if device == "cpu" else 1
        for number, (step, states) in stack.enter_context(closing(in_parallel(jobs, workers))):
            batch = batches[number]
            for place, state in zip(batch, states, strict=True):
                files[place.split, place.file].write(place.row, step, state)
            training = [place.split == "train" for place in batch]
            statistics[number].add(states[training])
            display.advance(task, len(batch))
    write_statistics(folder, statistics)


def _states(
    batch: list[Place], recipe: Recipe, times: list[float], device: str
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    states = simulate_batch([place.flow for place in batch], recipe.grid, times, device=device)
    for step, state in enumerate(states):
        yield step, state.to(torch.float32).cpu().numpy()


@contextmanager
def _staged(staging: Path) -> Iterator[None]:
    """An empty folder to work in, locked against other processes; gone at the end unless renamed."""
    staging.mkdir(parents=True, exist_ok=True)
    handle = os.open(staging, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"another process is at work in {staging}: wait for it to end") from None
        for entry in staging.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        try:
            yield
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    finally:
        os.close(handle)


def _swap(staging: Path, folder: Path, replaced: Path) -> None:
    """Put ``staging`` where ``folder`` is; what was there goes when the new one stands."""
    for path in sorted(staging.rglob("*")):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    shutil.rmtree(replaced, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(replaced)
    staging.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _check_space(staging: Path, recipe: Recipe, flows: int) -> None:
    needed = 4 * len(FIELDS) * flows * recipe.data.steps * recipe.grid[0] * recipe.grid[1]
    free = shutil.disk_usage(staging).free
    if free < 1.01 * needed:
        raise DataError(
            f"{staging.parent} has {free / 1e9:.3g} GB free, and the data set needs {needed / 1e9:.3g} GB"
        )


def _check_same(folder: Path, made_of: str) -> None:
    """Raise DataError unless every file in ``folder`` was made of the same recipe."""
    if not (folder / "data").is_dir():
        raise _not_ours(folder)
    wanted = json.loads(made_of)
    for header in (header for split in SPLITS for header in read_headers(folder, split)):
        if header.provenance is None:
            raise _not_ours(folder)
        found = json.loads(header.provenance)
        if differences := _differences(found, wanted):
            raise DataError(
                f"{folder} holds a data set that differs from the recipe in {', '.join(differences)}:"
                " choose another folder, or replace it with --force"
            )


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> Sequence[str]:
    return [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]


def _check_ours(folder: Path) -> None:
    """Raise DataError unless ``folder`` holds a data set of ours and nothing else: it will be removed."""
    if {entry.name for entry in folder.iterdir()} - {"data", STATISTICS_FILE, GENERATION}:
        raise _not_ours(folder)
    for split in SPLITS:
        with contextlib.suppress(DataError):
            if any(header.provenance is not None for header in read_headers(folder, split)):
                return
    raise _not_ours(folder)


def _not_ours(folder: Path) -> DataError:
    return DataError(f"{folder} holds what ptprof did not make: remove it yourself, or choose another folder")
