"""Folding: the same function with fewer layers, and the module itself left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ptprof.export.fold import folded


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def test_a_folded_network_gives_the_same(exported: Callable[[str], Any], states: Callable[..., Any]) -> None:
    model = exported("flow-matching")
    inputs = model.inputs(states(2))
    short = folded(model.step)
    assert (norms(model.step), norms(short)) == (18, 0)
    with torch.inference_mode():
        for value, expected in zip(short(*inputs), model.step(*inputs), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=2e-5)


def test_what_is_no_normalised_convolution_stays() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)).eval()
    module[2].running_mean.uniform_(-1, 1)
    short = folded(module)
    assert norms(short) == 1
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(short(x), module(x))
