"""Smooth random states, where only the cost of computing with them counts and not what they are.

What a step costs does not depend on values; a GPU's power does, a little, and smooth fields are nearer to a
flow in that than white noise.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from ptprof.records import Statistics
from ptprof.train.data.generate import plan
from ptprof.train.data.shear_flow import FIELDS
from ptprof.train.data.windows import Windows
from ptprof.train.recipe import Recipe

SHA256 = "synthetic"
"""Stands where the hash of the data would."""

STATISTICS = Statistics(
    fields=FIELDS,
    mean=(0.0,) * len(FIELDS),
    std=(1.0,) * len(FIELDS),
    change_std=(1.0,) * len(FIELDS),
)
CUT_OFF = 4.0
"""Periods per side above which the spectrum falls off."""

WINDOWS = 12
"""How many windows there really are."""


class SyntheticWindows(Windows):
    """As many windows as ``recipe`` has in ``split``, on its grid, held on ``device``; they repeat."""

    def __init__(self, recipe: Recipe, split: str, *, device: str | torch.device = "cpu") -> None:
        self.fields, self.statistics = FIELDS, STATISTICS
        self.grid, self.history = recipe.grid, recipe.history
        trajectories = Counter(place.split for place in plan(recipe))[split]
        self._count = trajectories * (recipe.data.steps - recipe.history)
        self._firsts = [0]
        self._held = states(WINDOWS + recipe.history, recipe.grid).to(device)

    def __len__(self) -> int:
        return self._count

    def _start(self, index: int) -> tuple[int, int]:
        return 0, index % WINDOWS


def states(count: int, grid: tuple[int, int], seed: int = 0) -> Tensor:
    """``count`` states ``(N, C, X, Y)``, float32, each field with mean 0 and deviation 1."""
    noise = torch.randn((count, len(FIELDS), *grid), generator=torch.Generator().manual_seed(seed))
    x, y = torch.fft.fftfreq(grid[0], 1 / grid[0]), torch.fft.rfftfreq(grid[1], 1 / grid[1])
    falling = 1 / (1 + (x[:, None] ** 2 + y**2) / CUT_OFF**2)
    falling[0, 0] = 0.0
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) * falling, s=grid)
    standardised: Tensor = smooth / smooth.std(dim=(-2, -1), keepdim=True)
    return standardised


def windows(count: int, history: int, grid: tuple[int, int], statistics: Statistics) -> Tensor:
    """``count`` windows to ask a model with, ``(N, h, C, X, Y)``, in the units of ``statistics``."""
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (statistics.mean, statistics.std))
    return states(count * history, grid, seed=1).reshape(count, history, len(FIELDS), *grid) * std + mean
