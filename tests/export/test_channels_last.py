"""Frozen neural operators with their channels last compute what they compute with their channels first."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ptprof.export.channels_last import (
    Banded,
    ChannelsLastFNO,
    ChannelsLastUNO,
    Spectral,
    channels_last,
)
from ptprof.plugins.importing import quiet
from ptprof.train.models import build
from ptprof.train.models.frozen import FrozenSpectralConv
from ptprof.train.models.resample import bicubic
from ptprof.train.models.spectral import SpectralConv, freeze

MODELS = {"fno": ChannelsLastFNO, "tfno": ChannelsLastFNO, "ufno": ChannelsLastUNO}


def network(name: str) -> nn.Module:
    torch.manual_seed(1)
    return build(name, "quick")


@pytest.mark.parametrize("grid", [(48, 96), (50, 67)])
@pytest.mark.parametrize("name", MODELS)
def test_they_compute_the_same(name: str, grid: tuple[int, int]) -> None:
    frozen = freeze(network(name), grid)
    window = torch.randn(2, 16, *grid, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = frozen(window)
        changed = channels_last(copy.deepcopy(frozen))
        given = changed(window)
    assert any(isinstance(part, MODELS[name]) for part in changed.modules())
    assert float((given - expected).norm() / expected.norm()) < 5e-7


def test_one_inside_another_module_is_found_and_the_rest_is_left() -> None:
    grid = (48, 96)
    operator = freeze(network("fno"), grid)
    around = nn.Sequential(nn.Conv2d(16, 16, 1), operator, nn.Identity())
    changed = channels_last(around)
    assert changed is around
    assert isinstance(changed[0], nn.Conv2d)
    assert not any(type(part).__name__ == "FNO" for part in changed.modules())


def test_what_is_not_frozen_is_left_as_it_is() -> None:
    unbound = network("fno")
    assert channels_last(unbound) is unbound
    assert not any(isinstance(part, ChannelsLastFNO) for part in unbound.modules())


def test_factors_that_are_kept_apart_are_multiplied_one_after_the_other() -> None:
    with quiet():
        from neuralop.layers.spectral_convolution import SpectralConv as Stock

        torch.manual_seed(1)
        settings = {"factorization": "Tucker", "rank": 0.1, "implementation": "factorized"}
        layer, grid = SpectralConv(Stock(12, 10, (8, 9), **settings)), (16, 24)
    dense, kept = (FrozenSpectralConv(layer, grid, grid, factorised=apart) for apart in (False, True))
    assert kept.before
    assert not dense.before
    x = torch.randn(2, *grid, layer.in_channels, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = dense(x.permute(0, 3, 1, 2)) - dense.bias
        given = Spectral(kept)(x).permute(0, 3, 1, 2)
    assert float((given - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize(("size", "out_size"), [(256, 128), (128, 256), (300, 450), (16, 16), (5, 40)])
def test_a_banded_matrix_is_multiplied_as_the_whole(size: int, out_size: int) -> None:
    matrix = bicubic(size, out_size, torch.float64, torch.device("cpu"))
    x = torch.randn(2, size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Banded(matrix)(x), matrix @ x, rtol=1e-13, atol=1e-13)
