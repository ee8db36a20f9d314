"""u, u_x, u_t and u_xx of a tanh network in one forward pass.

Each layer carries the value and the three derivatives of its activations side by side: a linear layer maps
all four alike, and for h = tanh(z)

    h_x = (1 - h²) z_x,   h_t = (1 - h²) z_t,   h_xx = (1 - h²) (z_xx - 2 h z_x²).

The backward pass through tanh is written out too, so a step of training costs a forward and a backward of
four times the points, and no derivative of a derivative; benchmarks/burgers.py compares it with autograd
applied twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ptprof.train.burgers.network import Network


def seeds(points: Tensor) -> Tensor:
    """Value and derivatives of the inputs themselves, ``(2, 4N)``, from points (x, t) ``(N, 2)``."""
    count = len(points)
    made = points.new_zeros(2, 4, count)
    made[:, 0] = points.T
    made[0, 1] = 1.0
    made[1, 2] = 1.0
    return made.view(2, 4 * count)


def derivatives(network: Network, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u, u_x, u_t, u_xx, each ``(1, N)``, at the points that ``seeds`` made ``inputs`` ``(2, 4N)`` from."""
    *hidden, last = network.linears()
    carried = inputs
    for layer in hidden:
        carried = _Tanh.apply(layer.weight @ carried, layer.bias)  # type: ignore[no-untyped-call]
    u, u_x, u_t, u_xx = (last.weight @ carried).chunk(4, dim=1)
    return u + last.bias, u_x, u_t, u_xx


class _Tanh(torch.autograd.Function):
    """tanh of z + bias with its derivatives, for ``(width, 4N)``: z, z_x, z_t and z_xx side by side."""

    @staticmethod
    def forward(ctx: Any, carried: Tensor, bias: Tensor) -> Tensor:
        z, z_x, z_t, z_xx = carried.chunk(4, dim=1)
        result = torch.empty_like(carried)
        h, h_x, h_t, h_xx = result.chunk(4, dim=1)
        torch.add(z, bias[:, None], out=h).tanh_()
        slope = torch.mul(h, h).neg_().add_(1.0)
        h_z_x = h * z_x
        torch.mul(slope, z_x, out=h_x)
        torch.mul(slope, z_t, out=h_t)
        torch.addcmul(z_xx, h_z_x, z_x, value=-2.0, out=h_xx).mul_(slope)
        ctx.save_for_backward(carried, result, slope, h_z_x)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """With s = 1 - h², ds/dz = -2 h s, and g the gradients of h, h_x, h_t, h_xx:

        z_xx: s g_xx      z_t: s g_t      z_x: s (g_x - 4 h z_x g_xx)
        z: s (g - 2 h (g_x z_x + g_t z_t + g_xx z_xx) + g_xx z_x² (4 h² - 2 s))
        """
        carried, result, slope, h_z_x = ctx.saved_tensors
        _, z_x, z_t, z_xx = carried.chunk(4, dim=1)
        h = result.chunk(4, dim=1)[0]
        g, g_x, g_t, g_xx = gradients[0].chunk(4, dim=1)
        made = torch.empty_like(carried)
        z, x, t, xx = made.chunk(4, dim=1)
        torch.mul(slope, g_xx, out=xx)
        torch.mul(slope, g_t, out=t)
        torch.addcmul(g_x, h_z_x, g_xx, value=-4.0, out=x).mul_(slope)
        torch.mul(g_x, z_x, out=z).addcmul_(g_t, z_t).addcmul_(g_xx, z_xx).mul_(h)
        curvature = g_xx * z_x
        z.addcmul_(curvature, h_z_x * h, value=-2.0).addcmul_(curvature, slope * z_x)
        torch.add(g, z, alpha=-2.0, out=z).mul_(slope)
        return made, z.sum(dim=1)
