"""Adam, then L-BFGS: what they reach, what is metered, and when they stop."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from ptprof.energy import EnergyMeter
from ptprof.errors import TrainingError
from ptprof.records import PinnStage
from ptprof.train.burgers import fitting
from ptprof.train.burgers.fitting import fit, one_thread
from ptprof.train.burgers.losses import TERMS, loss, sample
from ptprof.train.burgers.network import Network
from ptprof.train.burgers.reference import grid
from ptprof.train.recipe import Recipe


def stages(network: Network, model: str, count: int, recipe: Recipe, lbfgs: int) -> list[PinnStage]:
    with one_thread(), EnergyMeter(gpus=[]) as meter:
        return list(fit(network, sample(model, count, 0), recipe.burgers, lbfgs, meter))


@pytest.mark.parametrize("model", TERMS)
def test_a_short_training_lowers_loss_and_test_error(model: str, tiny: Recipe) -> None:
    network = Network(seed=0)
    begun = float(loss(network, sample(model, 200, 0)).detach())
    done = stages(network, model, 200, tiny, 120)
    assert done[-1].loss < begun / 15
    assert done[-1].test_mse < 0.2 < float((torch.tensor(grid()[1]) ** 2).mean())


def test_stages_count_and_meter_the_steps(tiny: Recipe) -> None:
    done = stages(Network(), "burgers-nn", 40, tiny, 8)
    assert [(stage.optimizer, stage.steps) for stage in done] == [
        ("adam", 4),
        ("adam", 6),
        ("l-bfgs", 10),
        ("l-bfgs", 14),
    ]
    assert done[1].evaluations == 6
    # Each step of L-BFGS takes one evaluation at the least, and each call of it one more to begin with.
    assert done[-1].evaluations >= 6 + 8 + 2
    assert all(stage.energy.joules is not None and stage.energy.joules > 0 for stage in done)
    assert all(a.evaluations < b.evaluations for a, b in pairwise(done))


def test_the_loss_of_a_stage_is_that_of_the_weights_it_left(tiny: Recipe) -> None:
    network = Network()
    done = stages(network, "burgers-s-pinn", 40, tiny, 8)
    points = sample("burgers-s-pinn", 40, 0)
    assert done[-1].loss == float(loss(network, points).detach())
    where, u = grid()
    error = network(torch.tensor(where, dtype=torch.float32)).detach().double() - torch.tensor(u)
    assert done[-1].test_mse == pytest.approx(float((error**2).mean()), rel=1e-12)


def test_lbfgs_that_lowers_nothing_ends_the_training(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_lbfgs", lambda *_: lambda steps: None)
    done = stages(Network(), "burgers-nn", 40, tiny, 12)
    assert [stage.steps for stage in done] == [4, 6, 10]


def test_a_loss_that_is_not_finite_is_said(tiny: Recipe) -> None:
    network = Network()
    with torch.no_grad():
        network.linears()[0].weight.fill_(math.nan)
    with pytest.raises(TrainingError, match="after 4 steps"):
        stages(network, "burgers-nn", 40, tiny, 8)


def test_the_number_of_threads_is_left_as_it_was() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
