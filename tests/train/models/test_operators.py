"""FNO, TFNO and UFNO whole: the same numbers and gradients as neuraloperator's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ptprof.train.models.operators import add_convolution

Pair = Callable[[str], tuple[nn.Module, nn.Module]]
Compare = Callable[[nn.Module, nn.Module, Tensor, Tensor], dict[str, float]]

GRIDS = [(16, 32), (17, 29), (16, 23)]


def windows(grid: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 16, *grid, dtype=dtype, generator=generator)
    return x, torch.randn(3, 4, *grid, dtype=dtype, generator=generator)


class Plain(nn.Module):
    """A module by the name of its parameters within another."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.module(x)
        return y


class Autocast(Plain):
    """The same under autocast to bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x).float()


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


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("name", ["fno", "ufno"])
def test_under_autocast_the_spectral_part_of_a_layer_is_that_of_the_rounded_field(
    name: str, pair: Pair
) -> None:
    """Whatever autocast makes of the skip connection's product, the convolution added to it is exact."""
    _, ours = pair(name)
    blocks = ours.fno_blocks if name == "fno" else ours.fno_blocks[0]
    conv, grid = blocks.convs[0], (16, 32)
    out_grid = conv.out_grid(grid)
    x = torch.randn(2, conv.in_channels, 16 * 32).to(torch.bfloat16)
    field = torch.zeros(2, conv.out_channels, out_grid[0] * out_grid[1], dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        found = add_convolution(conv, x, field, grid, out_grid)
    expected = conv(x.float().view(2, -1, *grid)).flatten(2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["fno", "tfno", "ufno"])
def test_autocast_rounds_the_pointwise_layers(name: str, pair: Pair, compare: Compare) -> None:
    """Output and gradients under bfloat16 are near those in single precision, and not the same."""
    _, ours = pair(name)
    distances = compare(Autocast(ours), Plain(ours), *windows((16, 32), torch.float32))
    assert min(distances.values()) > 1e-4
    assert distances["output"] < 1e-2
    assert max(distances.values()) < 1e-1, distances


@pytest.mark.parametrize("name", ["fno", "tfno", "ufno"])
def test_memory_format_of_the_input_does_not_matter(name: str, pair: Pair) -> None:
    _, ours = pair(name)
    x, _ = windows((16, 32), torch.float32)
    last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(ours(last), ours(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["tfno", "ufno"])
def test_compiles_into_one_graph(name: str, pair: Pair) -> None:
    """No part falls out of torch.compile, the matrices are constants in it, and the numbers are the same."""
    _, ours = pair(name)
    x, target = windows((16, 32), torch.float32)
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    expected = torch.autograd.grad(ours(x), list(ours.parameters()), target)
    found = torch.autograd.grad(compiled(x), list(ours.parameters()), target)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
