"""The loop on problems small enough to know the answer of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partialmethod
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from ptprof.errors import TrainingError
from ptprof.records import PLAIN, Energy, EnergyBreakdown, Execution
from ptprof.train import loop as loop_module
from ptprof.train.checkpoint import Settings, State
from ptprof.train.execution import launch
from ptprof.train.loop import Loop, seed_everything
from ptprof.train.models import build
from ptprof.train.objective import Objective
from ptprof.train.recipe import Recipe, load_recipe

SETTINGS = Settings(model="tiny", recipe="quick", recipe_sha256="", seed=0, data_sha256="", device="cpu")


class Steady:
    """A meter whose windows each hold one second and ten joules."""

    @contextmanager
    def window(self) -> Iterator[SimpleNamespace]:
        ten = Energy(joules=10, low=5, high=15, systematic=0.5, gain_id="g", source="modelled", sensor="none")
        missing = {"gpu": "no GPU", "dram": "no sensor"}
        yield SimpleNamespace(duration_s=1.0, breakdown=lambda: EnergyBreakdown(cpu=ten, missing=missing))


def recipe(**changes: object) -> Recipe:
    defaults: dict[str, object] = {
        "batch": 4,
        "steps_per_epoch": 6,
        "max_epochs": 5,
        "warmup_epochs": 1,
        "patience": 5,
        "max_hours": 1.0,
    }
    return load_recipe("quick").model_copy(update=defaults | changes)


def advection(count: int, seed: int) -> TensorDataset:
    """States of two channels, the next of which is the last one moved by one cell."""
    states = torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(states, states[:, 1:].roll(1, dims=2))


def convolution(seed: int = 0) -> nn.Module:
    seed_everything(seed, 0)
    return nn.Sequential(nn.Conv2d(2, 1, 3, padding=1, padding_mode="circular"))


def loop(
    module: nn.Module,
    *,
    train: Dataset | None = None,
    peak: float = 0.05,
    seed: int = 0,
    execution: Execution = PLAIN,
    **changes: object,
) -> Loop:
    return Loop(
        module,
        train or advection(30, 1),
        advection(10, 2),
        recipe=recipe(**changes),
        settings=SETTINGS.model_copy(update={"seed": seed, "execution": execution}),
        peak=peak,
        fabric=launch("cpu", execution),
    )


def ignore(state: State) -> None:
    pass


def loss(module: nn.Module, windows: TensorDataset) -> float:
    inputs, targets = windows.tensors
    with torch.inference_mode():
        return float((module.eval()(inputs) - targets).square().mean())


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_a_model_learns_to_advect() -> None:
    module, unseen = convolution(), advection(20, 3)
    untrained = loss(module, unseen)
    inputs, targets = unseen.tensors
    persistence = float((inputs[:, 1:] - targets).square().mean())
    training = loop(module, max_epochs=20, steps_per_epoch=None)
    assert training.fit(Steady(), ignore) == "all 20 epochs done"
    trained = loss(module, unseen)
    assert trained < 0.02 * min(untrained, persistence)
    assert training.epochs[-1].train_loss < 0.02 * training.epochs[0].train_loss


def test_the_losses_are_means_over_windows() -> None:
    module = convolution()
    training = loop(module, max_epochs=1, steps_per_epoch=None, peak=1e-12)
    training.fit(Steady(), ignore)
    (epoch,) = training.epochs
    assert epoch.steps == 8
    assert epoch.train_loss == pytest.approx(loss(module, advection(30, 1)), rel=1e-5)
    assert epoch.valid_loss == pytest.approx(loss(module, advection(10, 2)), rel=1e-5)


def test_the_epochs_carry_their_energy_and_their_rate() -> None:
    training = loop(convolution(), max_epochs=2, peak=0.5)
    training.fit(Steady(), ignore)
    assert [e.energy.joules for e in training.epochs] == [10, 10]
    assert training.epochs[0].energy.missing == {"gpu": "no GPU", "dram": "no sensor"}
    assert training.epochs[0].learning_rate == 0.5
    assert 0 < training.epochs[1].learning_rate < 0.05


class Recording(Dataset[tuple[Tensor, Tensor]]):
    """Windows that note which of them are asked for."""

    def __init__(self, count: int) -> None:
        self.windows, self.seen = advection(count, 1), []

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.seen.append(index)
        return self.windows[index]


def drawn(seed: int, **changes: object) -> list[list[int]]:
    windows = Recording(30)
    training = loop(convolution(), train=windows, seed=seed, max_epochs=3, **changes)
    training.fit(Steady(), ignore)
    per_epoch = len(windows.seen) // 3
    return [windows.seen[first : first + per_epoch] for first in range(0, len(windows.seen), per_epoch)]


def test_an_epoch_draws_windows_without_replacement() -> None:
    epochs = drawn(seed=0, steps_per_epoch=6)
    assert [len(set(epoch)) for epoch in epochs] == [24, 24, 24]
    assert epochs[0] != epochs[1] != epochs[2]
    assert drawn(seed=0, steps_per_epoch=6) == epochs
    assert drawn(seed=1, steps_per_epoch=6) != epochs


def test_a_whole_epoch_draws_every_window_once() -> None:
    assert all(sorted(epoch) == list(range(30)) for epoch in drawn(seed=0, steps_per_epoch=None))
    assert all(sorted(epoch) == list(range(30)) for epoch in drawn(seed=0, steps_per_epoch=100))


def test_the_same_seed_ends_with_the_same_weights() -> None:
    ends = []
    for seed in (0, 0, 1):
        module = convolution(seed)
        loop(module, seed=seed).fit(Steady(), ignore)
        ends.append(weights(module))
    assert all(torch.equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(ends[0], ends[2], strict=True))


class Noisy(nn.Module):
    """A model that draws from torch's own generator while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(convolution(), nn.BatchNorm2d(1))

    def forward(self, window: Tensor) -> Tensor:
        return self.inner(window + 0.1 * torch.randn_like(window) if self.training else window)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_training_that_goes_on_ends_bit_for_bit_the_same(stop_after: int) -> None:
    whole = loop(Noisy())
    states: list[State] = []

    def keep(state: State) -> None:
        copies = {n: t.clone() for n, t in state.weights.items()}
        moments = {k: {n: t.clone() for n, t in m.items()} for k, m in state.optimizer["state"].items()}
        groups = [dict(group) for group in state.optimizer["param_groups"]]
        states.append(
            State(
                state.settings, state.epochs, copies, state.best, {"state": moments, "param_groups": groups}
            )
        )

    whole.fit(Steady(), keep)
    torch.manual_seed(99)
    resumed = loop(Noisy())
    resumed.restore(states[stop_after - 1])
    resumed.fit(Steady(), ignore)
    assert resumed.epochs == whole.epochs
    ends = resumed.module.state_dict(), whole.module.state_dict()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])
    assert all(torch.equal(resumed.best[name], whole.best[name]) for name in whole.best)


def test_the_best_weights_are_kept_not_the_last() -> None:
    states = advection(30, 1).tensors[0]
    against = TensorDataset(states, states[:, 1:].roll(-1, dims=2))
    module = convolution()
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].weight[0, 1, 0, 1] = 1.0
    assert loss(module, advection(10, 2)) < 0.1
    training = loop(module, train=against, max_epochs=12, patience=3)
    assert training.fit(Steady(), ignore) == "no better validation loss in 3 epochs"
    assert [e.epoch for e in training.epochs] == [1, 2, 3, 4]
    assert loss(module, advection(10, 2)) > 1.5 * training.epochs[0].valid_loss
    module.load_state_dict(training.best)
    assert loss(module, advection(10, 2)) == pytest.approx(training.epochs[0].valid_loss, rel=1e-5)


def test_training_stops_when_nothing_gets_better() -> None:
    noise = advection(30, 1)
    unlearnable = TensorDataset(noise.tensors[0], torch.randn(30, 1, 8, 8))
    training = loop(convolution(), train=unlearnable, peak=0.5, max_epochs=200, patience=2)
    assert training.fit(Steady(), ignore) == "no better validation loss in 2 epochs"
    assert len(training.epochs) < 200


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error_in_words(bad: float) -> None:
    windows = advection(30, 1)
    windows.tensors[1][3] = bad
    saved: list[State] = []
    with pytest.raises(
        TrainingError, match=r"tiny: the training loss became (nan|inf) in epoch 1: lower the"
    ):
        loop(convolution(), train=windows, steps_per_epoch=None).fit(Steady(), saved.append)
    assert saved == []


@pytest.mark.parametrize("accumulate", [2, 3, 4])
def test_a_batch_in_parts_takes_the_step_of_the_whole(accumulate: int) -> None:
    """30 windows in batches of 4: the last batch has 2, fewer than the parts it is asked to be split into."""
    whole, parts = (
        loop(convolution(), execution=Execution(accumulate=n), max_epochs=2, steps_per_epoch=None)
        for n in (1, accumulate)
    )
    for training in (whole, parts):
        training.fit(Steady(), ignore)
    for ours, theirs in zip(parts.epochs, whole.epochs, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-5)
    for ours, theirs in zip(weights(parts.module), weights(whole.module), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_batch_in_parts_never_computes_on_more_than_a_part() -> None:
    seen: list[int] = []
    module = convolution()
    module.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    training = loop(module, execution=Execution(accumulate=2), max_epochs=1)
    inputs, targets = next(training.train_batches(1))
    training.train_step(inputs, targets, 0)
    assert seen == [2, 2]


class Seen(nn.Module):
    """A model that notes in which precision its product is taken, and in which its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convolution()
        self.dtypes: set[torch.dtype] = set()

    def forward(self, window: Tensor) -> Tensor:
        self.dtypes.add(window.dtype)
        product: Tensor = self.inner(window)
        self.dtypes.add(product.dtype)
        return product


def test_bf16_takes_products_in_bfloat16_and_nothing_else() -> None:
    exact, rounded = Seen(), Seen()
    for module, precision in ((exact, "fp32"), (rounded, "bf16")):
        training = loop(module, max_epochs=20, steps_per_epoch=None, execution=Execution(precision=precision))
        training.fit(Steady(), ignore)
    assert exact.dtypes == {torch.float32}
    assert rounded.dtypes == {torch.float32, torch.bfloat16}
    assert {p.dtype for p in rounded.parameters()} == {torch.float32}
    ours, theirs = loss(rounded, advection(20, 3)), loss(exact, advection(20, 3))
    assert ours != theirs
    assert max(ours, theirs) < 1e-4, "either learns to advect"


class Sampling(nn.Module):
    """A model with a loss of its own, which draws noise, as flow matching's does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convolution()

    def training_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return (self.inner(inputs) + torch.randn_like(targets) - targets).square().mean()


def test_a_validation_draws_the_same_noise_in_every_epoch() -> None:
    training = loop(Sampling(), peak=1e-12, max_epochs=3)
    training.fit(Steady(), ignore)
    losses = [e.valid_loss for e in training.epochs]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert len({e.train_loss for e in training.epochs}) == 3, "training must draw anew"
    torch.manual_seed(5)
    expected = torch.randn(1)
    torch.manual_seed(5)
    training.validate(4)
    assert torch.equal(torch.randn(1), expected), "a validation must leave the training's noise as it was"


def test_steps_can_be_taken_one_by_one() -> None:
    """As an estimate does, which trains for a while and no epoch to its end."""
    whole, stepwise = loop(convolution(), max_epochs=1), loop(convolution(), max_epochs=1)
    whole.fit(Steady(), ignore)
    losses = [
        stepwise.train_step(inputs, targets, step)
        for step, (inputs, targets) in enumerate(stepwise.train_batches(1))
    ]
    assert sum(losses) / len(losses) == whole.epochs[0].train_loss
    assert stepwise.validate(1) == whole.epochs[0].valid_loss
    sums = sum(float(stepwise.valid_step(*batch)) * len(batch[0]) for batch in stepwise.valid_batches())
    assert sums / 10 == pytest.approx(whole.epochs[0].valid_loss, rel=1e-6)


def test_each_epoch_is_watched_while_its_window_is_open() -> None:
    watched: list[tuple[int, object]] = []

    @contextmanager
    def watch(epoch: int, window: object) -> Iterator[None]:
        before = len(training.epochs)
        yield
        watched.append((epoch, window))
        assert len(training.epochs) == before

    training = loop(convolution(), max_epochs=2)
    training.fit(Steady(), ignore, watch)
    assert [epoch for epoch, _ in watched] == [1, 2]


@pytest.mark.parametrize("last", [True, False])
def test_networks_of_convolutions_are_laid_out_as_asked_for(last: bool) -> None:
    module = build("unet-cp", "quick")
    training = loop(module, execution=Execution(channels_last=last))
    weight = next(w for w in training.module.parameters() if w.ndim == 4 and min(w.shape) > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last) == last
    assert weight.is_contiguous() != last
    window = torch.randn(1, 16, 48, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(
            training.module.eval()(window), build_like(module)(window), rtol=1e-4, atol=1e-5
        )


def build_like(module: nn.Module) -> nn.Module:
    """The same weights in a model that was just built."""
    fresh = build("unet-cp", "quick")
    fresh.load_state_dict(module.state_dict())
    return fresh.eval()


@pytest.mark.parametrize("name", ["fno", "unet-cn-cp"])
def test_a_step_is_compiled_in_one_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By dynamo alone, which records the graph: what compiles it further takes a minute."""
    graphs: list[object] = []

    def recorded(graph: Callable[..., object], inputs: object) -> Callable[..., object]:
        graphs.append(graph)
        return graph

    record = partialmethod(nn.Module.compile, backend=recorded, fullgraph=True)
    monkeypatch.setattr(Objective, "compile", record)
    losses = []
    for compiled in (False, True):
        seed_everything(0, 0)
        training = loop(build(name, "quick"), execution=Execution(compiled=compiled))
        seed_everything(0, 1)
        window = torch.randn(2, 20, 48, 96, generator=torch.Generator().manual_seed(1))
        losses.append(training.train_step(window[:, :16], window[:, 16:], 0))
    assert len(graphs) == 1
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    torch.compiler.reset()


def test_an_epoch_has_the_energy_of_all_processes_and_the_time_of_the_slowest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        loop_module, "gathered", lambda own: [own, own.model_copy(update={"duration_s": 3.5})]
    )
    training = loop(convolution(), max_epochs=1)
    training.fit(Steady(), ignore)
    (epoch,) = training.epochs
    assert (epoch.duration_s, epoch.energy.joules) == (3.5, 20.0)
