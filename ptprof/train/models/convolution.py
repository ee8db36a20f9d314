"""Convolutions with zero or circular padding that train fast on a CPU.

Fields are kept channels-last, where oneDNN's convolutions are fastest. torch's circular padding leaves
that layout and differentiates slowly, and oneDNN takes longer for a depthwise convolution's weight
gradient than for all the rest of a training step: both are done here by other means.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

from ptprof.train.models.fused import applies
from ptprof.train.models.spectral import recording

Padding = Literal["zeros", "circular"]
TILE = 16
"""Points along y per matrix product of the depthwise weight gradient; the measured optimum."""


class Convolutional(nn.Module):
    """A network of convolutions, channels-last unless `lay_out` says otherwise."""

    channels_last = True

    def lay_out(self, channels_last: bool) -> None:
        """Keep fields and weights with their channels last, or first."""
        self.channels_last = channels_last
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=layout)  # type: ignore[call-overload]

    def laid_out(self, x: Tensor) -> Tensor:
        """``x`` (B, C, X, Y) as the network's fields are in memory."""
        return x.contiguous(
            memory_format=torch.channels_last if self.channels_last else torch.contiguous_format
        )


def layout_of(x: Tensor) -> torch.memory_format:
    """How ``x`` (B, C, X, Y) lies in memory."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


class Conv2d(nn.Conv2d):
    """A convolution of odd ``kernel_size`` that keeps the size, with zero or circular padding."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, padding: Padding, *, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)
        self.margin = kernel_size // 2
        self.circular = padding == "circular"

    def forward(self, x: Tensor) -> Tensor:
        if not self.circular:
            return conv2d(x, self.weight, self.bias, padding=self.margin)
        return conv2d(circular_pad(x, self.margin), self.weight, self.bias)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution of odd ``kernel_size`` that keeps the size, with zero or circular padding."""

    def __init__(self, channels: int, kernel_size: int, padding: Padding) -> None:
        super().__init__(channels, channels, kernel_size, groups=channels)
        self.margin = kernel_size // 2
        self.circular = padding == "circular"

    def forward(self, x: Tensor) -> Tensor:
        if applies(x):
            return Depthwise.apply(x, self.weight, self.bias, self.circular)  # type: ignore[no-any-return, no-untyped-call]
        return conv2d(_pad(x, self.margin, self.circular), self.weight, self.bias, groups=x.shape[1])


class Depthwise(torch.autograd.Function):
    """Depthwise convolution whose gradients are a forward convolution and matrix products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, circular: bool) -> Tensor:
        padded = _pad(x, weight.shape[2] // 2, circular)
        ctx.circular = circular
        ctx.save_for_backward(padded, weight)
        return conv2d(padded, weight, bias, groups=weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        padded, weight = ctx.saved_tensors
        mirrored = _pad(grad, weight.shape[2] // 2, ctx.circular)
        grad_x = conv2d(mirrored, weight.flip(2, 3), groups=weight.shape[0])
        return grad_x, depthwise_weight_gradient(padded, grad), grad.sum((0, 2, 3)), None


def depthwise_weight_gradient(padded: Tensor, grad: Tensor) -> Tensor:
    """The weight gradient (C, 1, K, K) of a depthwise convolution of ``padded`` (B, C, X + K − 1, Y + K − 1).

    For one shift along x and a tile of points along y, the product of padded input and gradient over
    all rows of all samples holds the sums for every pair of points; the kernel's are its diagonals. The
    gradient's rows are padded by zeros so that samples follow each other without mixing.
    """
    B, C, X, Y = grad.shape
    margin = padded.shape[2] - X
    tile = min(TILE, Y)
    tiles = -(-Y // tile)
    surplus = tiles * tile - Y
    rows = B * (X + margin)

    right = grad.new_zeros(tiles, C, B, X + margin, tile)
    right[:, :, :, :X] = pad(grad, (0, surplus)).reshape(B, C, X, tiles, tile).permute(3, 1, 0, 2, 4)
    right = right.view(-1, rows, tile)[:, : rows - margin]
    left = pad(padded, (0, surplus)).transpose(0, 1).contiguous().view(C, rows, -1)
    left = left.unfold(2, tile + margin, tile).permute(2, 0, 3, 1).reshape(-1, tile + margin, rows)

    out = grad.new_empty(C, 1, margin + 1, margin + 1)
    for shift in range(margin + 1):
        products = torch.bmm(left[..., shift : shift + rows - margin], right)
        products = products.view(tiles, C, tile + margin, tile).sum(0)
        diagonals = products.as_strided((C, margin + 1, tile), (products.stride(0), tile, tile + 1))
        out[:, 0, shift] = diagonals.sum(2)
    return out


class CircularPad(torch.autograd.Function):
    """Circular padding that stays channels-last where its input is; see `circular_pad`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, margin: int) -> Tensor:
        B, C, X, Y = x.shape
        ctx.margin = margin
        size = B, C, X + 2 * margin, Y + 2 * margin
        padded = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=layout_of(x))
        for outer, inner in _parts(margin):
            padded[outer] = x[inner]
        return padded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (centre, _), *edges = _parts(ctx.margin)
        folded = grad[centre].clone(memory_format=layout_of(grad))
        for outer, inner in edges:
            folded[inner] += grad[outer]
        return folded, None


Part = tuple[slice, slice, slice, slice]


def _parts(margin: int) -> list[tuple[Part, Part]]:
    """The nine parts of a padded field, the centre first, each with the part of the field that it repeats."""
    whole = slice(None)
    centre = slice(margin, -margin), whole
    spans = (centre, (slice(margin), slice(-margin, None)), (slice(-margin, None), slice(margin)))
    return [((whole, whole, ox, oy), (whole, whole, ix, iy)) for ox, ix in spans for oy, iy in spans]


def circular_pad(x: Tensor, margin: int) -> Tensor:
    """``x`` (B, C, X, Y) with ``margin`` points of its other end on every side."""
    if applies(x):
        return CircularPad.apply(x, margin)  # type: ignore[no-any-return, no-untyped-call]
    if not recording():
        return pad(x, (margin,) * 4, mode="circular")
    # In a recorded graph torch's own would leave channels-last, and OpenVINO has no padding that wraps.
    for dim in (2, 3):
        last, first = (x.narrow(dim, start, margin) for start in (x.shape[dim] - margin, 0))
        x = torch.cat((last, x, first), dim)
    return x


def _pad(x: Tensor, margin: int, circular: bool) -> Tensor:
    return circular_pad(x, margin) if circular else pad(x, (margin,) * 4)
