"""How far an export is from what was trained, and which one does not pass."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptprof.errors import ParityError
from ptprof.export import DeployableStep, parity
from ptprof.export.reference import DoubleSpectra, device_difference, float64, of_forecaster, of_map
from ptprof.records import Statistics
from ptprof.runtimes import open_runner
from ptprof.runtimes.metadata import Signature
from ptprof.train.recipe import DEPLOYABLE

STATISTICS = Statistics(fields=("a", "b"), mean=(10.0, 0.0), std=(2.0, 0.5))


@pytest.fixture(scope="session")
def references(exported, states):
    """Give a model's reference, computed when first asked for."""
    given = {}

    def give(name):
        if name not in given:
            model = exported(name)
            given[name] = of_forecaster(model.trained, states(3), model.metadata.statistics, steps=10)
        return given[name]

    return give


@pytest.mark.parametrize("runtime", ["eager", "torchscript", "onnxruntime"])
@pytest.mark.parametrize("name", DEPLOYABLE)
def test_all_pass_the_gate_against_what_was_trained(name, runtime, exported, references):
    with exported(name).open(runtime) as runner:
        measured = references(name).compare(runner)
    parity.gate(measured)
    assert (measured.windows, measured.rollout_steps) == (3, 10)
    assert measured.one_step == max(errors.one_step for errors in measured.by_field.values()) > 0
    assert measured.rollout_float64 == max(errors.rollout_float64 for errors in measured.by_field.values())
    # By the triangle inequality, whatever float64 is.
    assert measured.one_step <= measured.one_step_float64 + measured.reference_float64 + 1e-12
    assert measured.one_step < 2e-5
    assert measured.rollout < 1e-4


@pytest.mark.parametrize("name", ["fno", "tfno", "ufno"])
def test_the_float64_reference_is_float64_throughout(name, exported, states):
    """neuraloperator keeps its spectra in complex64: without that, it agrees with the real products."""
    model = exported(name)
    window = states(1, seed=3).double().flatten(1, 2)
    twin, products = float64(model.trained), float64(model.lowered)
    with torch.inference_mode():
        as_it_is, expected = twin(window), products(window)
        with DoubleSpectra():
            exact = twin(window)
    assert exact.dtype is torch.float64
    assert (as_it_is - expected).norm() / expected.norm() > 1e-9
    assert (exact - expected).norm() / expected.norm() < 1e-12
    assert next(model.trained.parameters()).dtype is not torch.float64


def test_an_error_is_relative_to_the_deviation_from_the_mean():
    reference = torch.tensor([[[[12.0, 8.0]], [[3.0, 4.0]]]])
    value = reference + torch.tensor([[[[0.3, 0.4]], [[0.0, 1.0]]]])
    errors = parity.relative_errors(value, reference, STATISTICS)
    assert errors == pytest.approx({"a": 0.5 / math.sqrt(8), "b": 1 / 5}, rel=1e-6)
    assert parity.worst(errors) == errors["b"]


@settings(deadline=None, max_examples=50)
@given(unit=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 99))
def test_neither_the_unit_nor_the_mean_of_a_field_counts(unit, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    reference, value = torch.randn(2, 3, 1, 4, 4, generator=generator, dtype=torch.float64)
    here = Statistics(fields=("a",), mean=(0.1,), std=(1.0,))
    there = Statistics(fields=("a",), mean=((0.1 + shift) * unit,), std=(unit,))
    moved = parity.relative_errors((value + shift) * unit, (reference + shift) * unit, there)
    assert moved["a"] == pytest.approx(parity.relative_errors(value, reference, here)["a"], rel=1e-8)


def test_a_reference_that_is_the_mean_everywhere_is_compared_with_the_deviation():
    reference = torch.tensor([10.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 3, 3)
    value = reference + torch.tensor([0.2, 0.0]).reshape(1, 2, 1, 1)
    assert parity.relative_errors(value, reference, STATISTICS)["a"] == pytest.approx(0.1, rel=1e-5)


def perturbed(model, change):
    """An eager runner of ``model``'s step whose outputs ``change`` has been at."""

    class Perturbed(torch.nn.Module):
        state_shape = model.step.state_shape

        def forward(self, state):
            return change(*model.step(state))

    return open_runner("eager", Perturbed())


def test_a_step_that_takes_its_noise_for_another_does_not_pass(exported, references):
    model = exported("flow-matching")
    assert references("flow-matching").noise.shape == (3, 10, 4, 48, 96)

    class Still(torch.nn.Module):
        state_shape, takes_noise = model.step.state_shape, True

        def forward(self, state, noise):
            return model.step(state, torch.zeros_like(noise))

    measured = references("flow-matching").compare(open_runner("eager", Still()))
    assert measured.one_step > 1e-2
    with pytest.raises(ParityError, match="against float64"):
        parity.gate(measured)


@pytest.mark.parametrize("error", [3e-5, 1e-3])
def test_an_error_beyond_rounding_does_not_pass(error, exported, references):
    model = exported("unet")
    std = torch.tensor(model.metadata.statistics.std).reshape(-1, 1, 1)

    def change(following, state_out):
        following = following.clone()
        following[:, 2] += error * std[2]
        return following, torch.cat((state_out[:, :-1], following.unsqueeze(1)), dim=1)

    measured = references("unet").compare(perturbed(model, change))
    for kind in ("one_step", "rollout", "one_step_float64", "rollout_float64"):
        errors = {field: getattr(found, kind) for field, found in measured.by_field.items()}
        assert max(errors, key=errors.get) == "velocity_x"
    assert measured.rollout > 0.1 * error
    with pytest.raises(ParityError, match="against float64"):
        parity.gate(measured)


def forgets_to_move(following, state_out):
    return following, torch.cat((state_out[:, :1], state_out[:, :-1]), dim=1)


def not_finite(following, state_out):
    return following * math.nan, state_out


@pytest.mark.parametrize(("change", "named"), [(forgets_to_move, "not moved on"), (not_finite, "not finite")])
def test_what_a_rollout_could_not_go_on_from_does_not_pass(change, named, exported, references):
    with pytest.raises(ParityError, match=named):
        references("unet").compare(perturbed(exported("unet"), change))


def test_fp32_may_be_missed_by_a_factor_and_float64_by_a_floor(exported, references):
    with exported("unet").open("eager") as runner:
        measured = references("unet").compare(runner)
    at_the_gate = {"gate": 2e-6, "reference_float64": 1e-6}
    parity.gate(measured.model_copy(update=at_the_gate | {"one_step_float64": 2e-6}))
    with pytest.raises(ParityError):
        parity.gate(measured.model_copy(update=at_the_gate | {"one_step_float64": 2.01e-6}))
    assert measured.gate == max(1e-6, 2 * measured.reference_float64)


class Growing(torch.nn.Module):
    """Multiplies the newest state by ``factor``, in standardised fields."""

    def __init__(self, factor):
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, x):
        return x[:, -4:] * self.factor


def test_the_error_of_a_rollout_is_that_of_its_last_step(states, statistics):
    state = states(2, (16, 16))
    reference = of_forecaster(Growing(1.5), state, statistics, steps=10)
    off = DeployableStep(Growing(1.5 * (1 + 1e-4)), statistics, 4)
    measured = reference.compare(open_runner("eager", off))
    assert measured.one_step == pytest.approx(1e-4, rel=1e-2)
    assert measured.rollout == pytest.approx((1 + 1e-4) ** 10 - 1, rel=1e-2)


def test_what_fp32_rounds_better_than_the_floor_may_be_missed_by_the_floor(states, statistics):
    reference = of_forecaster(Growing(1.5), states(2, (16, 16)), statistics, steps=1)
    measured = reference.compare(open_runner("eager", DeployableStep(Growing(1.5), statistics, 4)))
    assert 0 < 2 * measured.reference_float64 < 1e-6
    assert measured.gate == 1e-6


def test_the_float64_rollout_is_one(states, statistics):
    """Ten products with 1.1, which is none of fp32's numbers, without its rounding."""
    state = states(2, (16, 16))
    reference = of_forecaster(Growing(1.1), state, statistics, steps=10)
    mean, std = (
        torch.tensor(v, dtype=torch.float64).reshape(-1, 1, 1) for v in (statistics.mean, statistics.std)
    )
    expected = (state[:, -1].double() - mean) / std * float(torch.tensor(1.1)) ** 10 * std + mean
    torch.testing.assert_close(reference.exact[:, -1], expected, rtol=1e-12, atol=1e-12)
    assert not torch.equal(reference.rollout[:, -1].double(), expected)


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 2e-2), ("tf32", 3e-3)])
def test_where_fewer_bits_are_kept_a_stated_bound_counts(precision, bound, states, statistics):
    reference = of_forecaster(Growing(1.5), states(2, (16, 16)), statistics, steps=1)
    for error, passes in ((0.9 * bound, True), (1.1 * bound, False)):
        off = DeployableStep(Growing(1.5 * (1 + error)), statistics, 4)
        measured = reference.compare(open_runner("eager", off), precision)
        assert measured.gate == bound
        if passes:
            parity.gate(measured)
        else:
            with pytest.raises(ParityError, match="against float64"):
                parity.gate(measured)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_a_runner_of_one_batch_size_is_compared_in_batches(size, states, statistics):
    reference = of_forecaster(Growing(1.5), states(5, (16, 16)), statistics, steps=3)
    runner = open_runner("eager", DeployableStep(Growing(1.5), statistics, 4))
    expected = reference.compare(runner)
    runner.batch = size
    assert reference.compare(runner) == expected


def test_a_model_is_no_different_on_the_cpu_it_is_on(states, statistics):
    assert device_difference(Growing(1.5), states(1, (16, 16)), statistics, "cpu") is None


@pytest.mark.gpu
def test_what_a_gpu_makes_of_the_trained_model_is_told_apart(exported, states):
    model = exported("fno")
    found = device_difference(model.trained, states(2), model.metadata.statistics, "cuda:0")
    assert 0 < found < 1


class Line(torch.nn.Module):
    """u = w·(x, t)."""

    def __init__(self, dtype):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[0.1, 0.7]], dtype=dtype))

    def forward(self, points):
        return points @ self.weight.t()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_map_is_compared_with_its_model_in_both_precisions(dtype):
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    reference = of_map(Line(dtype), points, "u")
    exact = points.double() @ torch.tensor([[0.1], [0.7]], dtype=dtype).double()
    assert torch.equal(reference.exact, exact)

    class Off(torch.nn.Module):
        signature = Signature(input="points", takes=(2,), output="u", gives=(1,))

        def forward(self, points):
            return Line(torch.float32)(points) * (1 + 1e-4)

    measured = reference.compare(open_runner("eager", Off()))
    assert measured.one_step_float64 == pytest.approx(1e-4, rel=1e-2)
    assert measured.by_field["u"].one_step == measured.one_step
    assert (measured.rollout, measured.rollout_float64, measured.windows) == (None, None, 50)
    with pytest.raises(ParityError, match="against float64"):
        parity.gate(measured)


def test_a_rollout_that_blows_up_is_compared_as_long_as_it_is_finite(states, statistics):
    reference = of_forecaster(Growing(1e10), states(2, (16, 16)), statistics, steps=10)
    assert reference.rollout.shape[1] == 3
    assert torch.isfinite(reference.rollout).all()


def test_a_model_without_a_finite_step_has_nothing_to_compare_with(states, statistics):
    with pytest.raises(ParityError, match="trained model"):
        of_forecaster(Growing(math.inf), states(1, (16, 16)), statistics, steps=2)
