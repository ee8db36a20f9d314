"""The classic U-Net of The Well's benchmark, with zero or circular padding.

Architecture: Ronneberger et al. 2015 (arXiv:1505.04597) as PDEBench and The Well have it: two 3×3
convolutions with batch normalisation and tanh per level, four levels, 2×2 max pooling down, 2×2
transposed convolutions up.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptprof.train.models.convolution import Conv2d, Convolutional, Padding

LEVELS = 4


class UNet(Convolutional):
    """U-Net with ``init_features`` channels on the finest level, doubled on each coarser one.

    (B, Ci, X, Y) to (B, Co, X, Y); X and Y multiples of 16. With circular padding the network
    commutes with shifts by multiples of 16 points, as the equations do on a periodic domain.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, init_features: int, padding: Padding = "zeros"
    ) -> None:
        super().__init__()
        widths = [init_features * 2**level for level in range(LEVELS + 1)]
        self.encoders = nn.ModuleList(
            _block(before, after, padding)
            for before, after in zip([in_channels, *widths], widths[:-1], strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = _block(widths[-2], widths[-1], padding)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(2 * w, w, kernel_size=2, stride=2) for w in reversed(widths[:-1])
        )
        self.decoders = nn.ModuleList(_block(2 * w, w, padding) for w in reversed(widths[:-1]))
        # A transposed 1×1 convolution, as in the original, for its wider initial weights.
        self.head = nn.ConvTranspose2d(init_features, out_channels, kernel_size=1)
        self.lay_out(channels_last=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.laid_out(x)
        skips: list[Tensor] = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(torch.cat((up(x), skips.pop()), dim=1))
        out: Tensor = self.head(x)
        return out.contiguous()


def _block(in_channels: int, out_channels: int, padding: Padding) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            Conv2d(channels, out_channels, 3, padding, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.Tanh(),
        ]
    return nn.Sequential(*layers)
