"""FNO, TFNO and UFNO whole: the same numbers and gradients as neuraloperator's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Pair = Callable[[str], tuple[nn.Module, nn.Module]]
Compare = Callable[[nn.Module, nn.Module, Tensor, Tensor], dict[str, float]]

GRIDS = [(16, 32), (17, 29), (16, 23)]


def windows(grid: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 16, *grid, dtype=dtype, generator=generator)
    return x, torch.randn(3, 4, *grid, dtype=dtype, generator=generator)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ["fno", "tfno", "ufno"])
def test_in_single_precision_as_neuraloperator(
    name: str, grid: tuple[int, int], pair: Pair, compare: Compare
) -> None:
    stock, ours = pair(name)
    distances = compare(ours, stock, *windows(grid, torch.float32))
    assert distances.pop("output") <= 1e-6
    assert max(distances.values()) <= 3e-6, distances


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ["fno", "tfno", "ufno"])
def test_in_double_precision_as_neuraloperator(
    name: str,
    grid: tuple[int, int],
    pair: Pair,
    compare: Compare,
    in_float64: Callable[[nn.Module], nn.Module],
) -> None:
    stock, ours = map(in_float64, pair(name))
    distances = compare(ours, stock, *windows(grid, torch.float64))
    assert max(distances.values()) <= 1e-12, distances


@pytest.mark.parametrize("name", ["fno", "ufno"])
def test_pieces_of_the_hidden_layers_add_up(
    name: str, pair: Pair, compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden layers in many pieces, the last of them shorter, stored and computed again."""
    from ptprof.train.models.operators import fused

    stock, ours = pair(name)
    monkeypatch.setattr(fused, "PIECE", 1000)
    for narrow in (0, 1000):
        monkeypatch.setattr(fused, "NARROW", narrow)
        distances = compare(ours, stock, *windows((16, 32), torch.float32))
        assert distances.pop("output") <= 1e-6
        assert max(distances.values()) <= 3e-6, distances


@pytest.mark.parametrize("name", ["fno", "tfno", "ufno"])
def test_training_both_ways_goes_the_same_way(name: str, pair: Pair) -> None:
    """A few AdamW steps: the optimiser sees the same gradients whatever the weights' memory layout."""
    losses = []
    for model in pair(name):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        x, target = windows((16, 32), torch.float32)
        for _ in range(4):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), target)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_forward_pass_under_inference_mode_is_the_training_one(pair: Pair) -> None:
    for name in ("fno", "ufno"):
        _, ours = pair(name)
        x, _ = windows((16, 32), torch.float32)
        with torch.inference_mode():
            quick = ours(x)
        torch.testing.assert_close(quick, ours(x).detach(), rtol=1e-5, atol=1e-6)
