"""Flow matching: samplers against exact flows, the loss against the optimal velocity, symmetry, and cost."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ptprof.errors import UsageError
from ptprof.records import Statistics
from ptprof.train.models import build
from ptprof.train.models.flow_matching import FlowMatching, Sampler, sampled_by
from ptprof.train.models.increment import calibrate
from ptprof.train.recipe import ModelRecipe, Recipe, load_recipe

MIDPOINT4 = Sampler("midpoint", 4)


def small(predict: str = "increment", **settings: object) -> FlowMatching:
    """Flow matching as `build` makes it, of a few channels."""
    quick = load_recipe("quick")
    chosen = {"init_features": 4, "sampler": "midpoint", "nfe": 4} | settings
    models = quick.models | {"flow-matching": ModelRecipe(learning_rate=5e-4, settings=chosen)}
    torch.manual_seed(0)
    model = build("flow-matching", quick.model_copy(update={"models": models, "predict": predict}))
    assert isinstance(model, FlowMatching)
    return model.eval()


# dx/dτ = −(1 + τ)·x², so that 1/x grows by τ + τ²/2.
START = torch.tensor([[[[1.0, 0.4]]]], dtype=torch.float64)
END = 1 / (1 / START + 1.5)


def error(name: str, nfe: int) -> float:
    x = Sampler(name, nfe)(lambda x, tau: -(1 + tau) * x**2, START)
    return float((x - END).norm() / END.norm())


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("midpoint", 2)])
def test_a_sampler_converges_at_its_order(name: str, order: int) -> None:
    errors = [error(name, nfe) for nfe in (64, 128, 256)]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)
    assert errors[-1] < (1e-2 if order == 1 else 1e-4)


@pytest.mark.parametrize("name", ["euler", "midpoint"])
@pytest.mark.parametrize("nfe", [2, 6, 16])
def test_a_sampler_evaluates_as_often_as_it_says_and_never_at_the_end(name: str, nfe: int) -> None:
    asked: list[float] = []

    def velocity(x: Tensor, tau: float) -> Tensor:
        asked.append(tau)
        return torch.ones_like(x)

    assert torch.allclose(Sampler(name, nfe)(velocity, START), START + 1)
    assert len(asked) == nfe
    assert asked == sorted(set(asked))
    assert (asked[0], max(asked) < 1) == (0, True)


@pytest.mark.parametrize(
    ("name", "nfe", "said"),
    [
        ("midpoint", 5, "nfe must be even, not 5"),
        ("euler", 0, "once or more often, not 0"),
        ("midpoint", -2, "once or more often, not -2"),
        ("mid-point", 4, "did you mean 'midpoint'"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused_in_one_line(name: str, nfe: int, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Sampler(name, nfe)
    assert "\n" not in str(caught.value)


class Gaussian(nn.Module):
    """The velocity that minimises the loss for data of one Gaussian, N(mean, std²), and what is off it.

    With x_τ = (1 − τ)·x_0 + τ·x_1 all is jointly Gaussian, so that E[x_1 − x_0 | x_τ] is linear in x_τ.
    """

    mean, std = 0.7, 0.5

    def __init__(self, off: float = 0.0) -> None:
        super().__init__()
        self.off = off

    def forward(self, channels: Tensor) -> Tensor:
        x, tau = channels[:, 1:2], channels[:, 2:3]
        variance = (1 - tau) ** 2 + (tau * self.std) ** 2
        covariance = tau * self.std**2 - (1 - tau)
        return self.mean + covariance / variance * (x - tau * self.mean) + self.off


def gaussian_loss(network: nn.Module, batches: int = 20) -> float:
    flow = FlowMatching(network, 1, increment=False, sampler=MIDPOINT4)
    torch.manual_seed(2)
    losses = []
    for _ in range(batches):
        data = Gaussian.mean + Gaussian.std * torch.randn(64, 1, 32, 32)
        losses.append(flow.training_loss(torch.zeros(64, 1, 32, 32), data))
    return float(torch.stack(losses).mean())


def test_the_loss_is_smallest_at_the_velocity_that_is_optimal_and_known() -> None:
    """The minimum is the mean over τ of var(x_1 − x_0 | x_τ), by quadrature; an offset adds its square."""
    tau = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    s2 = Gaussian.std**2
    left = (1 + s2) - (tau * s2 - (1 - tau)) ** 2 / ((1 - tau) ** 2 + tau**2 * s2)
    smallest = float(torch.trapezoid(left, tau))
    assert gaussian_loss(Gaussian()) == pytest.approx(smallest, rel=5e-3)
    for off in (0.1, -0.3):
        assert gaussian_loss(Gaussian(off)) - gaussian_loss(Gaussian()) == pytest.approx(off**2, rel=0.05)


def test_the_optimal_velocity_carries_noise_to_the_data() -> None:
    flow = FlowMatching(Gaussian(), 1, increment=False, sampler=Sampler("midpoint", 64))
    noise = torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
    sample = flow(torch.zeros(1, 1, 200, 200), noise)
    assert float(sample.mean()) == pytest.approx(Gaussian.mean, abs=0.01)
    assert float(sample.std()) == pytest.approx(Gaussian.std, rel=0.02)


def test_the_times_of_a_batch_are_spread_evenly_and_each_is_uniform() -> None:
    seen: list[Tensor] = []

    class Watch(nn.Module):
        def forward(self, channels: Tensor) -> Tensor:
            assert bool((channels[:, 2] == channels[:, 2, :1, :1]).all())
            seen.append(channels[:, 2, 0, 0])
            return channels[:, 1:2]

    flow = FlowMatching(Watch(), 1, increment=False, sampler=MIDPOINT4)
    torch.manual_seed(0)
    for _ in range(2000):
        flow.training_loss(torch.zeros(5, 1, 2, 2), torch.zeros(5, 1, 2, 2))
    times = torch.stack(seen)
    gaps = times.sort(dim=1).values.diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 0.2), rtol=0, atol=1e-5)
    assert float(times.min()) >= 0
    assert float(times.max()) < 1
    torch.testing.assert_close(times.mean(0), torch.full((5,), 0.5), rtol=0, atol=0.03)
    torch.testing.assert_close(times.var(0), torch.full((5,), 1 / 12), rtol=0.06, atol=0)


def test_the_same_seed_gives_the_same_loss() -> None:
    model = small()
    window, following = torch.randn(3, 16, 48, 96), torch.randn(3, 4, 48, 96)

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        with torch.no_grad():
            return model.training_loss(window, following).item()

    assert loss(4) == loss(4)
    assert loss(4) != loss(5)


def test_increments_are_in_units_of_the_scale_from_the_newest_state() -> None:
    """With the flow that moves nothing the sample is the noise, so that the forecast shows its units."""

    class Still(nn.Module):
        def forward(self, channels: Tensor) -> Tensor:
            return torch.zeros_like(channels[:, :2])

    window, noise = torch.randn(3, 8, 16, 16), torch.randn(3, 2, 16, 16)
    scale = torch.tensor([0.1, 3.0]).reshape(2, 1, 1)
    flow = FlowMatching(Still(), 2, increment=True, sampler=MIDPOINT4)
    assert flow.scale is not None
    flow.scale.copy_(scale)
    torch.testing.assert_close(flow(window, noise), window[:, 6:] + scale * noise)
    state = FlowMatching(Still(), 2, increment=False, sampler=MIDPOINT4)
    torch.testing.assert_close(state(window, noise), noise)
    # ⟨(x_1 − x_0)²⟩ = ⟨x_1²⟩ + 1, x_1 being the change in units of the scale.
    torch.manual_seed(0)
    window, change = torch.randn(64, 8, 32, 32), torch.tensor([2.0, 5.0]).reshape(2, 1, 1)
    loss = flow.training_loss(window, window[:, 6:] + scale * change)
    assert float(loss) == pytest.approx((4 + 25) / 2 + 1, rel=0.02)


def test_the_scale_is_calibrated_and_stays_with_the_weights() -> None:
    changes = Statistics(
        fields=tuple("abcd"), mean=(0.0,) * 4, std=(2.0,) * 4, change_std=(1.0, 0.5, 4.0, 0.1)
    )
    model, other = small(), small()
    calibrate(model, changes)
    other.load_state_dict(model.state_dict())
    assert other.scale is not None
    assert other.scale.flatten().tolist() == pytest.approx([0.5, 0.25, 2.0, 0.05])
    state = small("state")
    calibrate(state, changes)
    assert state.scale is None


@pytest.mark.parametrize("by", [(16, 0), (0, 16), (32, 48), (-16, 80)])
def test_a_forecast_from_a_shifted_window_and_shifted_noise_is_shifted(by: tuple[int, int]) -> None:
    model = small()
    window, noise = torch.randn(2, 16, 48, 96), torch.randn(2, 4, 48, 96)

    def shifted(x: Tensor) -> Tensor:
        return torch.roll(x, by, dims=(2, 3))

    with torch.no_grad():
        following, moved = model(window, noise), model(shifted(window), shifted(noise))
        elsewhere = model(shifted(window), noise)
    close = 1e-6 * float(following.abs().max())
    assert float((moved - shifted(following)).abs().max()) <= close
    assert float((elsewhere - shifted(following)).abs().max()) > 1e3 * close


def flops(module: nn.Module, *inputs: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("sampler", "nfe"), [("euler", 1), ("euler", 7), ("midpoint", 2), ("midpoint", 8)])
def test_a_forecast_costs_its_evaluations_times_the_backbone(sampler: str, nfe: int) -> None:
    model = small(sampler=sampler, nfe=nfe)
    window, noise = torch.randn(1, 16, 48, 96), torch.randn(1, 4, 48, 96)
    once = flops(model.network, torch.randn(1, 21, 48, 96))
    assert flops(model, window, noise) == nfe * once
    # Its first convolution sees x and τ beside the window; all else is UNet-CP.
    narrow: Recipe = load_recipe("quick").model_copy(
        update={"models": {"unet-cp": ModelRecipe(learning_rate=5e-4, settings={"init_features": 4})}}
    )
    first = 2 * 5 * 4 * 3 * 3 * 48 * 96
    assert once == flops(build("unet-cp", narrow), window) + first


def test_another_number_of_evaluations_keeps_the_weights_and_the_method() -> None:
    model = small()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert sampled_by(model, 10) is model
    assert model.sampler == Sampler("midpoint", 10)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    with pytest.raises(UsageError, match="even, not 3"):
        sampled_by(model, 3)
    with pytest.raises(UsageError, match="only flow-matching"):
        sampled_by(nn.Identity(), 4)


@pytest.mark.parametrize("recipe", ["quick", "paper"])
def test_a_recipe_gives_the_backbone_of_its_unet_cp_five_more_channels(recipe: str) -> None:
    chosen = load_recipe(recipe)
    width = chosen.models["unet-cp"].settings["init_features"]
    model, plain = build("flow-matching", chosen), build("unet-cp", chosen)
    count = sum(p.numel() for p in plain.parameters())
    assert sum(p.numel() for p in model.parameters()) == count + 5 * width * 3 * 3
    assert chosen.models["flow-matching"].learning_rate == chosen.models["unet-cp"].learning_rate
