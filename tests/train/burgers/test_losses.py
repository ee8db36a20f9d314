"""The three losses: their terms, their points, and that the exact solution makes them vanish."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ptprof.errors import UsageError
from ptprof.train.burgers import losses
from ptprof.train.burgers.losses import TERMS, check, loss, sample
from ptprof.train.burgers.network import Network
from ptprof.train.burgers.reference import VISCOSITY, grid, solution
from ptprof.train.recipe import PINNS

MODELS = tuple(TERMS)


def by_hand(model: str, network: Network, count: int, seed: int) -> float:
    """Equations 5 to 7 of the paper's appendix, written out, derivatives by autograd applied twice."""
    points = sample(model, count, seed)
    known = {"data": count, "ic": 256, "bc": 200}
    parts = iter(points.points.split([known[term] for term in TERMS[model] if term in known]))
    total = 0.0
    if "data" in TERMS[model]:
        at = next(parts)
        u = solution(at[:, :1].double().numpy(), at[:, 1:].double().numpy())
        total += float(np.mean((u - network(at).detach().numpy()) ** 2))
    if "ic" in TERMS[model]:
        at = next(parts)
        assert not at[:, 1].any()
        total += float(((network(at) + torch.sin(math.pi * at[:, :1])) ** 2).mean().detach())
        left, right = next(parts).split(100)
        assert torch.equal(left, right * torch.tensor([-1.0, 1.0]))
        total += float((network(left) ** 2 + network(right) ** 2).mean().detach())
    if points.collocation is not None:
        at = points.collocation.chunk(4, dim=1)[0].T.clone().requires_grad_()
        u = network(at)
        (first,) = torch.autograd.grad(u.sum(), at, create_graph=True)
        (second,) = torch.autograd.grad(first[:, 0].sum(), at)
        residual = first[:, 1] + u[:, 0] * first[:, 0] - VISCOSITY * second[:, 0]
        total += float((residual**2).mean().detach())
    return total


@pytest.mark.parametrize("model", MODELS)
def test_the_loss_is_the_papers(model: str) -> None:
    network = Network(seed=4)
    assert float(loss(network, sample(model, 300, 1)).detach()) == pytest.approx(
        by_hand(model, network, 300, 1), rel=1e-5
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_exact_solution_has_no_loss(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact solution instead of a network, its derivatives by central differences in float64."""

    def u(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return solution(np.asarray(x, dtype=np.float64), np.asarray(t, dtype=np.float64))

    def exact(points: Tensor) -> Tensor:
        return torch.as_tensor(u(points[:, :1].double().numpy(), points[:, 1:].double().numpy()))

    def differences(_: object, collocation: Tensor) -> tuple[Tensor, ...]:
        x, t = (row[None] for row in collocation.chunk(4, dim=1)[0].double().numpy())
        h = 1e-4
        t = np.maximum(t, h)
        made = (
            u(x, t),
            (u(x + h, t) - u(x - h, t)) / (2 * h),
            (u(x, t + h) - u(x, t - h)) / (2 * h),
            (u(x + h, t) - 2 * u(x, t) + u(x - h, t)) / h**2,
        )
        return tuple(map(torch.as_tensor, made))

    monkeypatch.setattr(losses, "derivatives", differences)
    assert float(loss(exact, sample(model, 2000, 0))) < 1e-8  # type: ignore[arg-type]


@pytest.mark.parametrize("model", MODELS)
def test_points_are_drawn_by_the_seed_from_the_grid_without_repeating(model: str) -> None:
    first, again, other = (sample(model, 500, seed) for seed in (7, 7, 8))
    everywhere = {tuple(point) for point in grid()[0].astype(np.float32)}

    def drawn(points: losses.Points) -> Tensor:
        return points.points[:500] if points.collocation is None else points.collocation[:, :500].T

    assert torch.equal(drawn(first), drawn(again))
    assert not torch.equal(drawn(first), drawn(other))
    chosen = {tuple(point) for point in drawn(first).numpy()}
    assert len(chosen) == 500
    assert chosen <= everywhere


def test_data_and_collocation_points_are_drawn_apart() -> None:
    points = sample("burgers-s-pinn", 500, 0)
    assert points.collocation is not None
    assert not torch.equal(points.points[:500], points.collocation[:, :500].T)


def test_every_model_known_to_recipes_has_a_loss() -> None:
    assert PINNS == MODELS


@pytest.mark.parametrize(
    ("model", "count", "seed", "says"),
    [
        ("burgers-spinn", 100, 0, "did you mean 'burgers-s-pinn'"),
        ("burgers-nn", 0, 0, "from 1 to"),
        ("burgers-nn", 25_601, 0, "25,600"),
        ("burgers-nn", 100, -1, "negative"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(model: str, count: int, seed: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check(model, count, seed)
    with pytest.raises(UsageError, match=says):
        sample(model, count, seed)
