"""Derivatives carried forward against torch.func's, and the gradients through them against autograd's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ptprof.train.burgers.derivatives import derivatives, seeds
from ptprof.train.burgers.network import Network


@pytest.fixture
def network() -> Network:
    """Weights as they are drawn, biases that are not zero."""
    made = Network(seed=1).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=0.1)
    return made


@pytest.fixture
def points() -> Tensor:
    return torch.rand(40, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1


def by_autograd(network: Network, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    at = points.clone().requires_grad_()
    u = network(at)[:, 0]
    (first,) = torch.autograd.grad(u.sum(), at, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), at, create_graph=True)
    return u, first[:, 0], first[:, 1], second[:, 0]


def mixture(u: Tensor, u_x: Tensor, u_t: Tensor, u_xx: Tensor) -> Tensor:
    """Something that weighs each derivative, and their products, differently."""
    return (u_t + u * u_x - 0.3 * u_xx).square().mean() + (u_x.sin() * u_xx + u_t**3 + u).sum()


def test_each_is_what_torch_func_gives(network: Network, points: Tensor) -> None:
    def u(point: Tensor) -> Tensor:
        return network(point)[0]

    gradient = torch.func.vmap(torch.func.jacrev(u))(points)
    hessian = torch.func.vmap(torch.func.jacfwd(torch.func.jacrev(u)))(points)
    expected = (network(points)[:, 0], gradient[:, 0], gradient[:, 1], hessian[:, 0, 0])
    for ours, theirs in zip(derivatives(network, seeds(points)), expected, strict=True):
        torch.testing.assert_close(ours[0], theirs, rtol=1e-12, atol=1e-13)


def test_weights_have_the_gradients_of_autograd_applied_twice(network: Network, points: Tensor) -> None:
    parameters = list(network.parameters())
    ours = torch.autograd.grad(mixture(*derivatives(network, seeds(points))), parameters)
    theirs = torch.autograd.grad(mixture(*by_autograd(network, points)), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_seeds_are_the_derivatives_of_the_inputs(points: Tensor) -> None:
    value, by_x, by_t, twice = seeds(points).chunk(4, dim=1)
    assert torch.equal(value, points.T)
    assert torch.equal(by_x, torch.tensor([[1.0], [0.0]]).expand(2, 40).double())
    assert torch.equal(by_t, torch.tensor([[0.0], [1.0]]).expand(2, 40).double())
    assert not twice.any()
