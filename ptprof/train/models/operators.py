"""FNO and UNO of neuraloperator 2.0.0 on real matrix products.

The modules take over the parameters of a neuraloperator model under the same names, so that state
dicts pass both ways, and compute what it computes. Between layers a field is (B, C, X·Y).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ptprof.train.models import fused
from ptprof.train.models.basis import Grid
from ptprof.train.models.frozen import FrozenSpectralConv
from ptprof.train.models.resample import Resample
from ptprof.train.models.spectral import OnGrid, SpectralConv, analyse, unrounded, widened


class Pointwise(nn.Module):
    """A 1×1 convolution, (B, Ci, N) to (B, Co, N), with the parameters of ``layer``."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight: nn.Parameter = layer.weight
        self.bias: nn.Parameter | None = layer.bias

    @property
    def matrix(self) -> Tensor:
        """The weight as (Co, Ci)."""
        return self.weight.squeeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.matrix.unsqueeze(0) @ x
        return y if self.bias is None else y + self.bias[:, None].to(y.dtype)


class ChannelMLP(nn.Module):
    """Two pointwise layers with a GELU between, (B, Ci, N) to (B, Co, N)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.fcs = nn.ModuleList(Pointwise(fc) for fc in layer.fcs)

    def forward(self, x: Tensor) -> Tensor:
        expand, contract = cast(list[Pointwise], self.fcs)
        if fused.applies(x) and expand.bias is not None and contract.bias is not None:
            return fused.perceptron(x, expand.matrix, expand.bias, contract.matrix, contract.bias)
        return cast(Tensor, contract(gelu(expand(x))))


class Skip(nn.Module):
    """A linear skip connection without bias, (B, Ci, N) to (B, Co, N)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.conv = Pointwise(layer.conv)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(x))


def add_convolution(conv: SpectralConv, x: Tensor, field: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
    """The convolution of ``x`` (B, Ci, X·Y) added to ``field`` (B, Co, X'·Y'), perhaps in its place."""
    with unrounded(x.device):
        x, field = (widened(part, conv.bias.dtype) for part in (x, field))
        basis = conv.basis(grid, out_grid, x.dtype, x.device)
        rows = conv.filter(analyse(x, basis.analysis_y), basis, grid)
        if fused.applies(field):
            return fused.add_synthesis(field, rows, basis.synthesis_y)
        lines = field.reshape(-1, basis.synthesis_y.shape[1])
        return torch.addmm(lines, rows.t(), basis.synthesis_y).view(field.shape)


class Blocks(nn.Module):
    """The Fourier layers of an FNO."""

    def __init__(self, blocks: Any) -> None:
        super().__init__()
        self.convs = nn.ModuleList(SpectralConv(conv) for conv in blocks.convs)
        self.fno_skips = nn.ModuleList(Skip(skip) for skip in blocks.fno_skips)

    def fix(self, grid: Grid) -> None:
        """Turn the spectral layers, for good, into constants for ``grid``."""
        layers = cast(list[SpectralConv], self.convs)
        self.convs = nn.ModuleList(FrozenSpectralConv(layer, grid, grid) for layer in layers)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """All layers on ``x`` (B, C, X·Y): spectral convolution, skip and, but for the last, two GELUs.

        The second GELU is neuraloperator 2.0.0's: it follows the channel MLP even where there is none.
        """
        for index, (conv, skip) in enumerate(zip(self.convs, self.fno_skips, strict=True)):
            if index > 0:
                x = gelu(gelu(x))
            x = self._layer(cast(SpectralConv, conv), cast(Skip, skip), x, grid)
        return x

    @staticmethod
    def _layer(conv: SpectralConv, skip: Skip, x: Tensor, grid: Grid) -> Tensor:
        if not fused.applies(x):
            return add_convolution(conv, x, skip(x), grid, grid)
        basis = conv.basis(grid, grid, x.dtype, x.device)
        field, rows = fused.skip_and_analysis(x, skip.conv.matrix, basis.analysis_y)
        return fused.add_synthesis(field, conv.filter(rows, basis, grid), basis.synthesis_y)


class ScalingBlock(nn.Module):
    """One Fourier layer of a UNO with its channel MLP, from one grid to another."""

    def __init__(self, blocks: Any) -> None:
        super().__init__()
        self.convs = nn.ModuleList([SpectralConv(blocks.convs[0])])
        self.fno_skips = nn.ModuleList([Skip(blocks.fno_skips[0])])
        self.channel_mlp = nn.ModuleList([ChannelMLP(blocks.channel_mlp[0])])
        self.channel_mlp_skips = nn.ModuleList([Skip(blocks.channel_mlp_skips[0])])
        self.resample = Resample()

    @property
    def conv(self) -> SpectralConv:
        """The spectral convolution, which is the only one."""
        return cast(SpectralConv, self.convs[0])

    def fix(self, grid: Grid, out_grid: Grid) -> None:
        """Turn the layer, for good, into constants from ``grid`` to ``out_grid``."""
        self.resample.fix(grid, out_grid, self.conv.bias)
        self.convs = nn.ModuleList([FrozenSpectralConv(self.conv, grid, out_grid)])

    def forward(self, x: Tensor, grid: Grid, out_grid: Grid) -> Tensor:
        """``x`` (B, Ci, X·Y) to (B, Co, X'·Y')."""
        skip, mlp, mlp_skip = self.fno_skips[0], self.channel_mlp[0], self.channel_mlp_skips[0]
        # Both skips are linear, and so is resampling: it goes where the field is smaller.
        if out_grid[0] * out_grid[1] < grid[0] * grid[1]:
            smaller = self.resample(x, grid, out_grid)
            field, passed = skip(smaller), mlp_skip(smaller)
        else:
            field, passed = (self.resample(s(x), grid, out_grid) for s in (skip, mlp_skip))
        return cast(Tensor, mlp(add_convolution(self.conv, x, field, grid, out_grid)) + passed)


class FNO(OnGrid):
    """A neuraloperator FNO, dense or Tucker; (B, Ci, X, Y) to (B, Co, X, Y)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.fno_blocks = Blocks(model.fno_blocks)
        self.lifting = ChannelMLP(model.lifting)
        self.projection = ChannelMLP(model.projection)

    def fix_grid(self, grid: Grid) -> None:
        self.grid = grid
        self.fno_blocks.fix(grid)

    def forward(self, x: Tensor) -> Tensor:
        grid = self.grid_of(x)
        y: Tensor = self.projection(self.fno_blocks(self.lifting(x.flatten(2)), grid))
        return y.view(*y.shape[:2], *grid)


class UNO(OnGrid):
    """A neuraloperator UNO; (B, Ci, X, Y) to (B, Co, X, Y)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.lifting = ChannelMLP(model.lifting)
        self.fno_blocks = nn.ModuleList(ScalingBlock(block) for block in model.fno_blocks)
        self.horizontal_skips = nn.ModuleDict({i: Skip(skip) for i, skip in model.horizontal_skips.items()})
        self.projection = ChannelMLP(model.projection)
        self.skips_map: dict[int, int] = dict(model.horizontal_skips_map)
        self.resamples = nn.ModuleDict({str(i): Resample() for i in self.skips_map})
        self.scaling: tuple[float, float] = tuple(model.end_to_end_scaling_factor)

    @property
    def blocks(self) -> list[ScalingBlock]:
        """The Fourier layers."""
        return cast(list[ScalingBlock], self.fno_blocks)

    def fix_grid(self, grid: Grid) -> None:
        grids = self.grids(grid)
        self.grid = grid
        like = self.blocks[0].conv.bias
        for index, block in enumerate(self.blocks):
            block.fix(grids[index], grids[index + 1])
        for index, source in self.skips_map.items():
            cast(Resample, self.resamples[str(index)]).fix(grids[source + 1], grids[index], like)

    def grids(self, grid: Grid) -> list[Grid]:
        """The grid before each layer, and after the last, where it is the input's times all scales."""
        grids = [grid]
        for block in self.blocks:
            grids.append(block.conv.out_grid(grids[-1]))
        grids[-1] = round(grid[0] * self.scaling[0]), round(grid[1] * self.scaling[1])
        return grids

    def forward(self, x: Tensor) -> Tensor:
        grids = self.grids(self.grid_of(x))
        x = self.lifting(x.flatten(2))
        skips: dict[int, Tensor] = {}
        for index, block in enumerate(self.blocks):
            if index in self.skips_map:
                source = self.skips_map[index]
                skip = self.resamples[str(index)](skips.pop(source), grids[source + 1], grids[index])
                x = torch.cat((x, skip), dim=1)
            x = block(x, grids[index], grids[index + 1])
            if str(index) in self.horizontal_skips:
                skips[index] = self.horizontal_skips[str(index)](x)
        y: Tensor = self.projection(x)
        return y.view(*y.shape[:2], *grids[-1])
