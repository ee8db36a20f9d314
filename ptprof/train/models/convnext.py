"""The U-shaped ConvNeXt of The Well's benchmark, with zero or circular padding.

Blocks: Liu et al. 2022 (arXiv:2201.03545), a 7×7 depthwise convolution, layer normalisation, a
pointwise MLP of four times the width, layer scale, residual.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, normalize

from ptprof.train.models.convolution import Conv2d, Convolutional, DepthwiseConv2d, Padding

STAGES = 4
LAYER_SCALE = 1e-6
EPSILON = 1e-6


class ConvNextUNet(Convolutional):
    """ConvNeXt blocks in a U of four stages; (B, Ci, X, Y) to (B, Co, X, Y), X and Y multiples of 16.

    Circular padding wraps a 7×7 kernel around the coarsest level, whose sides must be 3 at least.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        init_features: int,
        blocks_per_stage: int,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        widths = [init_features * 2**stage for stage in range(STAGES + 1)]
        self.in_proj = Conv2d(in_channels, widths[0], 3, padding)
        self.encoders = nn.ModuleList(
            nn.Sequential(*_blocks(width, blocks_per_stage, padding), _down(width)) for width in widths[:-1]
        )
        self.neck = Block(widths[-1], padding)
        self.merges = nn.ModuleList(
            nn.Conv2d(2 * width, width, kernel_size=1) for width in reversed(widths[1:-1])
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(*_blocks(width, blocks_per_stage, padding), _up(width))
            for width in reversed(widths[1:])
        )
        self.out_proj = Conv2d(widths[0], out_channels, 3, padding)
        self.lay_out(channels_last=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_proj(self.laid_out(x))
        skips: list[Tensor] = []
        for encoder in self.encoders:
            skips.append(x)
            x = encoder(x)
        x = self.neck(x)
        x = self.decoders[0](x)
        # As in the original, the finest skip (the input projection) is not used.
        for merge, decoder in zip(self.merges, self.decoders[1:], strict=True):
            x = decoder(merge(torch.cat((x, skips.pop()), dim=1)))
        out: Tensor = self.out_proj(x)
        return out.contiguous()


class Block(nn.Module):
    """One ConvNeXt block, (B, C, X, Y) to the same."""

    def __init__(self, channels: int, padding: Padding) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(channels, 7, padding)
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.expand = nn.Linear(channels, 4 * channels)
        self.contract = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        # The layer scale goes into the weights: a pass over the field less, forward and backward.
        weight, bias = self.scale[:, None] * self.contract.weight, self.scale * self.contract.bias
        return x + linear(gelu(self.expand(h)), weight, bias).permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    """Scales each point's channel vector to unit length, then by ``weight``.

    What the original calls a channels-first layer normalisation. Its bias is never used; it is kept so
    that the parameters are the published ones.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        # Without a gradient to wait for, processes that train together need not look for it.
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return normalize(x, p=2.0, dim=1, eps=EPSILON) * self.weight


def _blocks(channels: int, count: int, padding: Padding) -> list[nn.Module]:
    return [Block(channels, padding) for _ in range(count)]


def _down(channels: int) -> nn.Module:
    return nn.Sequential(ChannelNorm(channels), nn.Conv2d(channels, 2 * channels, kernel_size=2, stride=2))


def _up(channels: int) -> nn.Module:
    return nn.Sequential(
        ChannelNorm(channels), nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2)
    )
