"""Flow matching in data space: a forecaster that samples the next state.

A velocity network v(x, τ | history) carries standard normal noise at τ = 0 to the next state at τ = 1 along
dx/dτ = v. It is trained by conditional flow matching (Lipman et al. 2023, arXiv:2210.02747) on straight
paths with σ_min = 0, which is rectified flow (Liu et al. 2023, arXiv:2209.03003):

    x_τ = (1 − τ)·x_0 + τ·x_1,    loss = ⟨|v(x_τ, τ | history) − (x_1 − x_0)|²⟩,

with x_0 standard normal noise, x_1 the data and τ uniform on [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptprof.errors import UsageError, unknown
from ptprof.train.models.unet import UNet
from ptprof.train.recipe import FLOW_MATCHING

SamplerName = Literal["euler", "midpoint"]
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)

Velocity = Callable[[Tensor, float], Tensor]
"""dx/dτ ``(B, C, X, Y)`` at x ``(B, C, X, Y)`` and τ."""


@dataclass(frozen=True)
class Sampler:
    """An explicit Runge–Kutta method with equal steps from τ = 0 to τ = 1.

    Parameters
    ----------
    name : ``euler``, of first order, or ``midpoint``, of second
    nfe : how often the velocity is evaluated: once per step by Euler's method, twice by the midpoint method

    Raises
    ------
    UsageError : a method that is not known, no evaluation, or an odd number for the midpoint method
    """

    name: SamplerName
    nfe: int

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise unknown("sampler", self.name, SAMPLERS)
        if self.nfe < 1:
            raise UsageError(f"a sampler evaluates the velocity once or more often, not {self.nfe} times")
        if self.name == "midpoint" and self.nfe % 2:
            raise UsageError(
                f"the midpoint method evaluates the velocity twice per step: nfe must be even, not {self.nfe}"
            )

    def __call__(self, velocity: Velocity, x: Tensor) -> Tensor:
        """Carry ``x`` ``(B, C, X, Y)`` from τ = 0 to τ = 1; the loop unrolls where a graph is recorded."""
        if self.name == "euler":
            for step in range(self.nfe):
                x = x + velocity(x, step / self.nfe) / self.nfe
            return x
        steps = self.nfe // 2
        for step in range(steps):
            middle = x + velocity(x, step / steps) / (2 * steps)
            x = x + velocity(middle, (step + 0.5) / steps) / steps
        return x


def flow_matching(
    in_channels: int, fields: int, *, increment: bool, init_features: int, sampler: SamplerName, nfe: int
) -> FlowMatching:
    """Flow matching on the backbone of UNet-CP, for windows of ``in_channels`` channels, h·C.

    The network sees x and τ as C + 1 more channels; τ is a field that is τ everywhere.

    Raises
    ------
    UsageError : as for `Sampler`
    """
    network = UNet(in_channels + fields + 1, fields, init_features=init_features, padding="circular")
    return FlowMatching(network, fields, increment=increment, sampler=Sampler(sampler, nfe))


def sampled_by(module: nn.Module, nfe: int) -> nn.Module:
    """``module``, which from now on samples its forecast with ``nfe`` evaluations.

    Raises
    ------
    UsageError : a module that does not sample, or an ``nfe`` that its sampler cannot have
    """
    if not isinstance(module, FlowMatching):
        raise UsageError(f"only {FLOW_MATCHING} evaluates its network several times: leave out --nfe")
    module.sampler = replace(module.sampler, nfe=nfe)
    return module


class FlowMatching(nn.Module):
    """A forecaster that samples the next state by flow matching.

    The flow's data is the change of the state in units of ``scale`` where ``increment``, and the next state
    otherwise; see `ptprof.train.models.increment`.

    Parameters
    ----------
    network : maps ``(B, h·C + C + 1, X, Y)``, the window, x and τ as a field, to dx/dτ ``(B, C, X, Y)``
    fields : C
    increment : whether the flow's data is the change
    sampler : how ``forward`` carries noise to data

    Attributes
    ----------
    scale : ``(C, 1, 1)``, the typical change of a field in one step, in units of the field's standard
        deviation; ones until it is calibrated; None where the flow's data is the next state
    """

    takes_noise = True
    scale: Tensor | None

    def __init__(self, network: nn.Module, fields: int, *, increment: bool, sampler: Sampler) -> None:
        super().__init__()
        self.network = network
        self.fields = fields
        self.sampler = sampler
        self.register_buffer("scale", torch.ones(fields, 1, 1) if increment else None)

    def forward(self, window: Tensor, noise: Tensor) -> Tensor:
        """A sample of the standardised next state, ``(B, C, X, Y)``.

        ``window`` is standardised, ``(B, h·C, X, Y)``; ``noise`` standard normal, ``(B, C, X, Y)``.
        """

        def velocity(x: Tensor, tau: float) -> Tensor:
            # A product with a field that is there, and not a new one, leaves no shape to compute in a graph.
            return self.velocity(window, x, window[:, :1] * 0 + tau)

        x = self.sampler(velocity, noise)
        return x if self.scale is None else window[:, -self.fields :] + self.scale * x

    def velocity(self, window: Tensor, x: Tensor, tau: Tensor) -> Tensor:
        """dx/dτ at ``x`` ``(B, C, X, Y)`` and ``tau`` ``(B, 1, X, Y)``, given the window."""
        v: Tensor = self.network(torch.cat((window, x, tau), dim=1))
        return v

    def training_loss(self, window: Tensor, following: Tensor) -> Tensor:
        """The conditional flow matching loss of ``(B, h·C, X, Y)`` and ``(B, C, X, Y)``, ``()``.

        Noise and τ come from torch's global generator. The τ of a batch are spread evenly from one random
        number, each of them uniform: its loss, and the statistics that batch normalisation takes from it,
        scatter less than with a random number each (the low-discrepancy sampler of Kingma et al. 2021,
        arXiv:2107.00630).
        """
        data = following if self.scale is None else (following - window[:, -self.fields :]) / self.scale
        noise = torch.randn_like(data)
        count = len(data)
        tau = (torch.rand((), device=data.device) + torch.arange(count, device=data.device) / count) % 1
        tau = tau.view(-1, 1, 1, 1)
        x = (1 - tau) * noise + tau * data
        velocity = self.velocity(window, x, tau.expand(-1, 1, *data.shape[2:]))
        return functional.mse_loss(velocity.float(), data - noise)
