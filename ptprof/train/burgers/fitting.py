"""Adam, then L-BFGS, all points at once: a training as a sequence of stages, each metered and tested."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from ptprof.energy import EnergyMeter
from ptprof.errors import TrainingError
from ptprof.records import PinnStage
from ptprof.train.burgers.losses import Points, loss
from ptprof.train.burgers.network import Network
from ptprof.train.burgers.reference import grid
from ptprof.train.recipe import BurgersRecipe

HISTORY = 50
"""Pairs of steps and changes of gradient that L-BFGS remembers."""

LBFGS_SCALE = 1e4
"""L-BFGS minimises the loss times this. torch's keeps a pair only where the product of step and change of
gradient exceeds 1e-10, which at losses below 1e-6 they no longer do: unscaled, it stops learning there."""

Advance = Callable[[int], None]


def fit(
    network: Network, points: Points, recipe: BurgersRecipe, lbfgs_steps: int, meter: EnergyMeter
) -> Iterator[PinnStage]:
    """Train ``network`` in place, giving each stage when it is done: ``recipe``'s Adam, then L-BFGS.

    The windows of ``meter`` hold the steps alone: the loss and the test error of a stage are computed
    between them. L-BFGS searches each line by the strong Wolfe conditions, from the step 1; it ends early
    with a stage that did not lower the loss.

    Raises
    ------
    TrainingError : a loss that is no longer finite
    """
    gradient = _Gradient(network, points)
    error = _test_error(network)
    phases: tuple[tuple[Literal["adam", "l-bfgs"], Advance, int], ...] = (
        ("adam", _adam(network, recipe.learning_rate, gradient), recipe.adam_steps),
        ("l-bfgs", _lbfgs(network, gradient), lbfgs_steps),
    )
    steps, before = 0, math.inf
    for optimizer, advance, planned in phases:
        for count in _stages(planned, recipe.stage_steps):
            with meter.window() as window:
                advance(count)
            steps += count
            with torch.no_grad():
                value = float(loss(network, points))
            if not math.isfinite(value):
                raise TrainingError(
                    f"after {steps} steps the loss is no longer finite: lower the learning rate"
                )
            yield PinnStage(
                optimizer=optimizer,
                steps=steps,
                evaluations=gradient.evaluations,
                loss=value,
                test_mse=error(),
                duration_s=window.duration_s,
                energy=window.breakdown(),
            )
            if optimizer == "l-bfgs" and value >= before:
                return
            before = value


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one core: on layers this narrow a second one costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Gradient:
    """Computes the loss and its gradient, and counts how often."""

    def __init__(self, network: Network, points: Points) -> None:
        self.network, self.points, self.evaluations = network, points, 0

    def __call__(self, scale: float = 1.0) -> float:
        self.evaluations += 1
        self.network.zero_grad(set_to_none=True)
        value: Tensor = scale * loss(self.network, self.points)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()


def _stages(steps: int, length: int) -> list[int]:
    """The steps of each stage; the last may be shorter."""
    return [min(length, steps - done) for done in range(0, steps, length)]


def _adam(network: Network, learning_rate: float, gradient: _Gradient) -> Advance:
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)

    def advance(steps: int) -> None:
        for _ in range(steps):
            gradient()
            optimizer.step()

    return advance


def _lbfgs(network: Network, gradient: _Gradient) -> Advance:
    optimizer = torch.optim.LBFGS(
        network.parameters(),
        lr=1.0,
        history_size=HISTORY,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def advance(steps: int) -> None:
        # What it has learnt of the curvature stays in the optimiser from stage to stage.
        optimizer.param_groups[0].update(max_iter=steps, max_eval=100 * steps)
        optimizer.step(lambda: gradient(LBFGS_SCALE))  # type: ignore[no-untyped-call]

    return advance


def _test_error(network: Network) -> Callable[[], float]:
    """The mean square error over the whole grid, summed in float64."""
    weight = next(network.parameters())
    everywhere, u = grid()
    where = torch.tensor(everywhere, dtype=weight.dtype, device=weight.device)
    exact = torch.tensor(u, device=weight.device)

    def error() -> float:
        with torch.no_grad():
            return float(((network(where).double() - exact) ** 2).mean())

    return error
