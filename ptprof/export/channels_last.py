"""Frozen neural operators with their channels last, as inference runtimes compute them fastest.

A pointwise layer is then a product with a constant right factor, which ONNX Runtime and OpenVINO pack once
and fuse with its bias and its activation; with the channels first it is a product with a constant left
factor, which neither of them does. The transforms take each line of the grid as it lies in memory, so that
no field is transposed but the few channels of the input and the output:

    analysis over y      (2·my, Y) · (B·X, Y, C)             large
    analysis over x      (2·mx, 2·X) · (B, 2·X, my·C)        small
    mixing of channels   mx·my times (2·B, Ci) · (Ci, 2·Co)  small
    synthesis over x     (2·X', 4·mx) · (B, 4·mx, my·C)      small
    synthesis over y     (Y', 2·my) · (B·X', 2·my, C)        large

The weights and matrices are those of `ptprof.train.models.frozen.FrozenSpectralConv`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from ptprof.train.models.basis import Grid
from ptprof.train.models.frozen import FrozenSpectralConv
from ptprof.train.models.operators import FNO, UNO, ChannelMLP, Pointwise, ScalingBlock, Skip
from ptprof.train.models.resample import Resample
from ptprof.train.models.spectral import gather, mix


def channels_last(module: nn.Module) -> nn.Module:
    """``module`` with each frozen neural operator in it, in its place, as it is here.

    What is not frozen, and what is no neural operator of `ptprof.train.models`, is left as it is.
    """
    if type(module) is FNO and module.grid is not None:
        return ChannelsLastFNO(module)
    if type(module) is UNO and module.grid is not None:
        return ChannelsLastUNO(module)
    for name, child in module.named_children():
        replaced = channels_last(child)
        if replaced is not child:
            setattr(module, name, replaced)
    return module


class Dense(nn.Module):
    """A pointwise layer, (…, Ci) to (…, Co); ``bias`` (Co) takes the place of its own."""

    def __init__(self, layer: Pointwise, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", layer.matrix.detach().clone())
        bias = layer.bias if bias is None else bias
        self.register_buffer("bias", None if bias is None else bias.detach().flatten().clone())

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, cast(Tensor, self.weight), cast(Tensor | None, self.bias))


class Perceptron(nn.Module):
    """Two pointwise layers with a GELU between."""

    def __init__(self, mlp: ChannelMLP) -> None:
        super().__init__()
        self.expand, self.contract = (Dense(cast(Pointwise, layer)) for layer in mlp.fcs)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.contract(gelu(self.expand(x))))


class Spectral(nn.Module):
    """A spectral convolution without its bias, (B, X, Y, Ci) to (B, X', Y', Co)."""

    weight: Tensor
    analysis_y: Tensor
    analysis_x: Tensor
    synthesis_x: Tensor
    synthesis_y: Tensor

    def __init__(self, layer: FrozenSpectralConv) -> None:
        super().__init__()
        self.grid, self.out_grid = layer.grids
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.before = list(layer.before)
        for name in self.before:
            self.register_buffer(name, layer.get_buffer(name).clone())
        self.modes = layer.analysis_x.shape[2] // 2, len(layer.analysis_y) // 2
        for name, matrix in (
            ("weight", layer.weight),
            ("analysis_y", layer.analysis_y),
            ("analysis_x", layer.analysis_x.flatten(0, 1).t()),
            ("synthesis_x", layer.synthesis_x.transpose(1, 2).flatten(0, 1)),
            ("synthesis_y", layer.synthesis_y.t()),
        ):
            self.register_buffer(name, matrix.contiguous().clone())

    def forward(self, x: Tensor) -> Tensor:
        (X, _), (Xo, _), (mx, my) = self.grid, self.out_grid, self.modes
        Ci, Co = self.in_channels, self.out_channels
        lines = (self.analysis_y @ x).view(-1, X, 2, my * Ci).transpose(1, 2)
        spectrum = self.analysis_x @ lines.reshape(-1, 2 * X, my * Ci)
        z = spectrum.view(-1, 2, mx * my, Ci).permute(2, 1, 0, 3).reshape(mx * my, -1, Ci)
        for name in self.before:
            z = gather(mix(z, self.get_buffer(name)))
        products = mix(z, self.weight).view(mx, my, 2, -1, Co, 2)
        pairs = products.permute(3, 2, 5, 0, 1, 4).reshape(-1, 4 * mx, my * Co)
        rows = (self.synthesis_x @ pairs).view(-1, 2, Xo, my * Co).transpose(1, 2)
        return self.synthesis_y @ rows.reshape(-1, Xo, 2 * my, Co)


BLOCK = 128
"""Rows of a banded matrix that are multiplied at once."""


class Banded(nn.Module):
    """A banded matrix (N', N) times (B, N, D) in blocks: each point depends on its neighbours alone."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.columns: list[slice] = []
        for index, start in enumerate(range(0, len(matrix), BLOCK)):
            rows = matrix[start : start + BLOCK]
            used = rows.any(0).nonzero().flatten()
            self.columns.append(slice(int(used[0]), int(used[-1]) + 1))
            self.register_buffer(f"block_{index}", rows[:, self.columns[-1]].clone())

    def forward(self, x: Tensor) -> Tensor:
        blocks = [getattr(self, f"block_{index}") for index in range(len(self.columns))]
        if len(blocks) == 1:
            return cast(Tensor, blocks[0] @ x[..., self.columns[0], :])
        parts = [block @ x[..., columns, :] for block, columns in zip(blocks, self.columns, strict=True)]
        return torch.cat(parts, dim=-2)


class Resampled(nn.Module):
    """Bicubic resampling, (B, X, Y, C) to (B, X', Y', C)."""

    def __init__(self, layer: Resample, grid: Grid, out_grid: Grid) -> None:
        super().__init__()
        self.grid, self.out_grid = grid, out_grid
        along_x, along_y = layer.along_x, layer.along_y
        if along_x is not None and along_y is not None:
            self.along_x, self.along_y = Banded(along_x.detach()), Banded(along_y.detach().t())

    def forward(self, x: Tensor) -> Tensor:
        if self.grid == self.out_grid:
            return x
        channels = x.shape[3]
        lines = self.along_x(x.reshape(-1, self.grid[0], self.grid[1] * channels))
        return cast(Tensor, self.along_y(lines.view(-1, self.out_grid[0], self.grid[1], channels)))


class ChannelsLastFNO(nn.Module):
    """A frozen `FNO`: (B, Ci, X, Y) to (B, Co, X, Y)."""

    def __init__(self, model: FNO) -> None:
        super().__init__()
        blocks = model.fno_blocks
        self.lifting = Perceptron(model.lifting)
        self.convs = nn.ModuleList(Spectral(cast(FrozenSpectralConv, conv)) for conv in blocks.convs)
        # The convolution's bias is the same at every point: the pointwise layer adds it for nothing.
        self.skips = nn.ModuleList(
            Dense(cast(Skip, skip).conv, cast(Tensor, conv.bias))
            for skip, conv in zip(blocks.fno_skips, blocks.convs, strict=True)
        )
        self.projection = Perceptron(model.projection)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lifting(x.permute(0, 2, 3, 1))
        for index, (conv, skip) in enumerate(zip(self.convs, self.skips, strict=True)):
            if index > 0:
                x = gelu(gelu(x))
            x = skip(x) + conv(x)
        return cast(Tensor, self.projection(x).permute(0, 3, 1, 2))


class Layer(nn.Module):
    """A frozen `ScalingBlock`: (B, X, Y, Ci) to (B, X', Y', Co)."""

    def __init__(self, block: ScalingBlock, grid: Grid, out_grid: Grid) -> None:
        super().__init__()
        conv = cast(FrozenSpectralConv, block.convs[0])
        self.first = out_grid[0] * out_grid[1] < grid[0] * grid[1]
        self.conv = Spectral(conv)
        self.resample = Resampled(block.resample, grid, out_grid)
        # Bicubic weights add up to one, so that a bias passes through resampling but for rounding.
        self.skip = Dense(cast(Skip, block.fno_skips[0]).conv, conv.bias)
        self.mlp = Perceptron(cast(ChannelMLP, block.channel_mlp[0]))
        self.mlp_skip = Dense(cast(Skip, block.channel_mlp_skips[0]).conv)

    def forward(self, x: Tensor) -> Tensor:
        # Where resampling makes a field smaller it goes first.
        if self.first:
            smaller = self.resample(x)
            field, passed = self.skip(smaller), self.mlp_skip(smaller)
        else:
            field, passed = self.resample(self.skip(x)), self.resample(self.mlp_skip(x))
        return cast(Tensor, self.mlp(field + self.conv(x)) + passed)


class ChannelsLastUNO(nn.Module):
    """A frozen `UNO`: (B, Ci, X, Y) to (B, Co, X', Y')."""

    def __init__(self, model: UNO) -> None:
        super().__init__()
        grids = model.grids(cast(Grid, model.grid))
        self.lifting = Perceptron(model.lifting)
        self.layers = nn.ModuleList(
            Layer(block, *sides) for block, *sides in zip(model.blocks, grids, grids[1:], strict=False)
        )
        self.horizontal_skips = nn.ModuleDict(
            {index: Dense(cast(Skip, skip).conv) for index, skip in model.horizontal_skips.items()}
        )
        self.skips_map = dict(model.skips_map)
        self.resamples = nn.ModuleDict(
            {
                str(index): Resampled(
                    cast(Resample, model.resamples[str(index)]), grids[source + 1], grids[index]
                )
                for index, source in model.skips_map.items()
            }
        )
        self.projection = Perceptron(model.projection)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lifting(x.permute(0, 2, 3, 1))
        skips: dict[int, Tensor] = {}
        for index, layer in enumerate(self.layers):
            if index in self.skips_map:
                skip = self.resamples[str(index)](skips.pop(self.skips_map[index]))
                x = torch.cat((x, skip), dim=3)
            x = layer(x)
            if str(index) in self.horizontal_skips:
                skips[index] = self.horizontal_skips[str(index)](x)
        return cast(Tensor, self.projection(x).permute(0, 3, 1, 2))
