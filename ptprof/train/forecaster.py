"""A trained module as a forecaster: the next standardised state of each standardised window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptprof.runtimes.noise import SEED, seeded
from ptprof.train.evaluate import Forecaster


def forecaster(module: nn.Module, seed: int = SEED) -> Forecaster:
    """``module`` as a function of the window alone.

    One that samples takes fresh noise at each call, from a generator on the CPU seeded here: what a
    forecaster gives for the same windows in the same order is the same on every device.
    """
    if not getattr(module, "takes_noise", False):
        return module
    generator = seeded(seed)
    fields = module.fields

    def forecast(window: Tensor) -> Tensor:
        shape = (len(window), fields, *window.shape[2:])
        following: Tensor = module(window, torch.randn(shape, generator=generator).to(window.device))
        return following

    return forecast
