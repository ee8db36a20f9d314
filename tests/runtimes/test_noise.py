"""Noise: what a seed gives, and that every runtime takes the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ptprof.errors import UsageError
from ptprof.export import DeployableStep
from ptprof.export.onnx import write_onnx
from ptprof.export.torchscript import write_torchscript
from ptprof.records import Statistics
from ptprof.runtimes import Runner, open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.noise import draw

GRID, HISTORY, FIELDS = (8, 12), 2, 3
STATISTICS = Statistics(fields=("a", "b", "c"), mean=(0.5, -1.0, 0.0), std=(0.5, 2.0, 1.0))
CLOSE = {"rtol": 1e-5, "atol": 2e-6}


class Shaken(nn.Module):
    """A network of the window, and so much of the noise that it cannot be overlooked."""

    takes_noise = True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.network = nn.Conv2d(HISTORY * FIELDS, FIELDS, 3, padding=1)

    def forward(self, window: Tensor, noise: Tensor) -> Tensor:
        following: Tensor = self.network(window) + torch.tanh(noise) * 3
        return following


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | nn.Module]:
    """What each runtime opens."""
    folder = tmp_path_factory.mktemp("shaken")
    step = DeployableStep(Shaken(), STATISTICS, HISTORY, GRID).eval()
    metadata = Metadata(
        model="shaken",
        run="shaken-test-s0",
        recipe="test",
        grid=GRID,
        history=HISTORY,
        fields=STATISTICS.fields,
        units=dict.fromkeys(STATISTICS.fields, "1"),
        statistics=STATISTICS,
        checkpoint_sha256="0" * 64,
        sampler="euler",
        nfe=1,
        versions={"torch": torch.__version__},
    )
    write_onnx(step, metadata, folder / "model.onnx")
    write_torchscript(step, metadata, folder / "model.pt")
    return {
        "eager": step,
        "onnxruntime": folder / "model.onnx",
        "openvino": folder / "model.onnx",
        "torchscript": folder / "model.pt",
    }


@pytest.fixture(params=["eager", "torchscript", "onnxruntime", "openvino"])
def runner(
    request: pytest.FixtureRequest,
    sources: dict[str, Path | nn.Module],
    require_runtime: Callable[[str], None],
) -> Iterator[Runner]:
    require_runtime(request.param)
    with open_runner(request.param, sources[request.param]) as opened:
        yield opened


def some_noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(11))


def test_a_seed_is_the_generator_s_and_its_noise_is_standard_normal() -> None:
    noise = draw(5, 2, 3, 64, 96)
    assert torch.equal(noise, torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(5)))
    assert not torch.equal(noise, draw(6, 2, 3, 64, 96))
    count = noise.numel()
    assert abs(float(noise.mean())) < 4 / count**0.5
    assert float(noise.var()) == pytest.approx(1, abs=4 * (2 / count) ** 0.5)


@given(seed=st.integers(0, 2**64 - 1), batch=st.integers(1, 3), steps=st.integers(1, 4))
def test_a_longer_rollout_begins_as_a_shorter_one(seed: int, batch: int, steps: int) -> None:
    long = draw(seed, batch, 5, 2, 4, 6)
    assert long.shape == (batch, 5, 2, 4, 6)
    assert torch.equal(long[:, :steps], draw(seed, batch, steps, 2, 4, 6))
    assert torch.equal(long[:, 0], draw(seed, batch, 2, 4, 6))
    assert len({float(step.sum()) for step in long.unbind(1)}) == 5


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    draw(0, 1, 3, 8, 12)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match="a seed is a number from 0"):
        draw(seed, 1, 3, 8, 12)


def test_noise_of_no_step_is_refused() -> None:
    with pytest.raises(UsageError, match="not of 3 dimensions"):
        draw(0, 3, 8, 12)


def test_every_runtime_takes_the_noise_of_seed_0_unless_it_is_given(
    runner: Runner, sources: dict[str, nn.Module], states: Callable[..., Tensor]
) -> None:
    assert runner.takes_noise
    state, noise = states(2), draw(0, 2, 4, FIELDS, *GRID)
    assert torch.equal(runner.step(state)[0], runner.step(state, noise[:, 0])[0])
    assert torch.equal(runner.rollout(state, 4), runner.rollout(state, 4, noise))
    with torch.inference_mode():
        expected, moved = sources["eager"](state, noise[:, 0])
    torch.testing.assert_close(runner.step(state)[0], expected, **CLOSE)
    torch.testing.assert_close(runner.step(state)[1], moved, **CLOSE)
    assert float((runner.step(state, some_noise(2, FIELDS, *GRID))[0] - expected).abs().max()) > 0.5


def test_a_rollout_with_given_noise_is_its_steps_one_by_one(
    runner: Runner, states: Callable[..., Tensor]
) -> None:
    state, noise = states(3), some_noise(3, 4, FIELDS, *GRID)
    rollout = runner.rollout(state, 4, noise)
    for lead in range(4):
        following, state = runner.step(state, noise[:, lead])
        assert torch.equal(rollout[:, lead], following)


@pytest.mark.parametrize("steps", [None, 3])
def test_a_bound_query_draws_the_same_at_each_call(
    runner: Runner, steps: int | None, states: Callable[..., Tensor]
) -> None:
    state = states(2)
    query = runner.bind(state, steps)
    query()
    first, place = query.result.clone(), query.result.data_ptr()
    query()
    assert torch.equal(query.result, first)
    assert query.result.data_ptr() == place
    given = runner.bind(state, steps, some_noise(2, *(() if steps is None else (steps,)), FIELDS, *GRID))
    given()
    assert not torch.equal(given.result, first)


def test_noise_that_is_given_is_never_written(runner: Runner, states: Callable[..., Tensor]) -> None:
    noise = some_noise(2, 3, FIELDS, *GRID)
    kept = noise.clone()
    runner.rollout(states(2), 3, noise)
    runner.step(states(2), noise[:, 1])
    assert torch.equal(noise, kept)


@pytest.mark.parametrize(
    ("noise", "steps", "said"),
    [
        (some_noise(2, FIELDS, *GRID), None, r"takes \(1, 3, 8, 12\)"),
        (some_noise(1, FIELDS, 12, 8), None, r"\(1, 3, 12, 8\) does not fit"),
        (some_noise(1, FIELDS, *GRID), 2, r"takes \(1, 2, 3, 8, 12\)"),
        (some_noise(1, 3, FIELDS, *GRID), 2, r"takes \(1, 2, 3, 8, 12\)"),
        (some_noise(1, FIELDS, *GRID).double(), None, "torch.float64 on cpu does not fit"),
    ],
)
def test_noise_that_does_not_fit_is_refused_in_words(
    runner: Runner, noise: Tensor, steps: int | None, said: str, states: Callable[..., Tensor]
) -> None:
    with pytest.raises(UsageError, match=said):
        runner.bind(states(1), steps, noise)


@pytest.mark.parametrize("runtime", ["eager", "torchscript", "onnxruntime", "openvino"])
def test_a_step_that_takes_none_refuses_it(
    runtime: str, open_small: Callable[..., Runner], states: Callable[..., Tensor]
) -> None:
    with open_small(runtime) as runner:
        assert not runner.takes_noise
        for ask in (runner.step, lambda state, noise: runner.rollout(state, 1, noise.unsqueeze(1))):
            with pytest.raises(UsageError, match="takes no noise"):
                ask(states(1), some_noise(1, FIELDS, *GRID))


def test_files_say_how_they_sample(sources: dict[str, Path]) -> None:
    for runtime in ("torchscript", "onnxruntime"):
        with open_runner(runtime, sources[runtime]) as runner:
            assert runner.metadata is not None
            assert (runner.metadata.sampler, runner.metadata.nfe, runner.nfe) == ("euler", 1, 1)


@pytest.mark.gpu
def test_a_gpu_takes_the_noise_that_the_cpu_takes(runner: Runner, states: Callable[..., Tensor]) -> None:
    state = states(2)
    expected = runner.rollout(state, 4)
    runner.close()
    source = Shaken()
    with open_runner("eager", DeployableStep(source, STATISTICS, HISTORY, GRID), device="cuda:0") as gpu:
        torch.testing.assert_close(gpu.rollout(state.cuda(), 4).cpu(), expected, rtol=1e-4, atol=1e-5)
