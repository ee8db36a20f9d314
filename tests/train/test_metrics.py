"""Scores against numbers worked by hand, against The Well's own code, and by their invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from the_well.benchmark import metrics as the_well
from the_well.data.datasets import WellMetadata

from ptprof.train.metrics import nrmse, pearson_r, vrmse

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")


def states(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def metadata() -> WellMetadata:
    return WellMetadata(
        dataset_name="shear_flow",
        n_spatial_dims=2,
        spatial_resolution=(8, 12),
        scalar_names=[],
        constant_scalar_names=[],
        field_names={0: list(FIELDS[:2]), 1: list(FIELDS[2:]), 2: []},
        constant_field_names={0: [], 1: [], 2: []},
        boundary_condition_types=["PERIODIC"],
        n_files=1,
        n_trajectories_per_file=[1],
        n_steps_per_trajectory=[1],
    )


def test_vrmse_by_hand() -> None:
    target = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    # Variance over N - 1: (9 + 1 + 1 + 9) / 3; mean square error: (1 + 0 + 0 + 9) / 4.
    prediction = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    assert vrmse(prediction, target).item() == pytest.approx(math.sqrt(2.5 / (20 / 3)), rel=1e-7)


def test_nrmse_by_hand() -> None:
    target = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    prediction = torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    assert nrmse(prediction, target).item() == pytest.approx(math.sqrt(2.5 / 14), rel=1e-7)
    assert nrmse(torch.zeros(2, 2), target).item() == pytest.approx(1.0, rel=1e-7)


def test_pearson_by_hand() -> None:
    target = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    prediction = torch.tensor([[2.0, 1.0], [4.0, 3.0]])
    assert pearson_r(prediction, target).item() == pytest.approx(0.6, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_the_well_says_the_same(metadata: WellMetadata, scale: float) -> None:
    target = states(3, 4, 8, 12, scale=scale).double()
    prediction = (target + states(3, 4, 8, 12, seed=1, scale=0.3 * scale)).double()
    last = [t.movedim(1, -1) for t in (prediction, target)]
    torch.testing.assert_close(
        vrmse(prediction, target), the_well.VRMSE.eval(*last, metadata), rtol=1e-12, atol=0.0
    )
    torch.testing.assert_close(
        nrmse(prediction, target), the_well.NRMSE.eval(*last, metadata), rtol=1e-12, atol=0.0
    )
    points = 8 * 12
    theirs = the_well.PearsonR.eval(*last, metadata, eps=0.0) * points / (points - 1)
    torch.testing.assert_close(pearson_r(prediction, target), theirs, rtol=1e-12, atol=0.0)


def test_numpy_says_the_same_correlation() -> None:
    prediction, target = states(8, 12), states(8, 12, seed=1)
    expected = np.corrcoef(prediction.double().numpy().ravel(), target.double().numpy().ravel())[0, 1]
    assert pearson_r(prediction, target).item() == pytest.approx(expected, abs=1e-13)


def test_a_perfect_forecast_and_the_spatial_mean() -> None:
    target = states(4, 16, 16)
    assert pearson_r(target, target).tolist() == pytest.approx([1.0] * 4, abs=1e-15)
    assert vrmse(target, target).tolist() == [0.0] * 4
    mean = target.mean((-2, -1), keepdim=True).expand_as(target)
    points = 16 * 16
    assert vrmse(mean, target).tolist() == pytest.approx([math.sqrt((points - 1) / points)] * 4, rel=1e-6)


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10), seed=st.integers(0, 1000))
def test_pearson_knows_neither_scale_nor_shift(scale: float, shift: float, seed: int) -> None:
    target, prediction = states(6, 6, seed=seed).double(), states(6, 6, seed=seed + 1).double()
    r = pearson_r(prediction, target).item()
    assert pearson_r(prediction * scale + shift, target).item() == pytest.approx(r, abs=1e-9)
    assert pearson_r(-prediction, target).item() == pytest.approx(-r, abs=1e-9)
    assert -1 <= r <= 1


@given(shift=st.floats(-5, 5), seed=st.integers(0, 1000))
def test_vrmse_of_a_shift_is_the_shift_in_deviations(shift: float, seed: int) -> None:
    target = states(10, 10, seed=seed).double()
    expected = abs(shift) / math.sqrt(target.var().item() + 1e-7)
    assert vrmse(target + shift, target).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6])
def test_a_constant_field_has_no_correlation(level: float) -> None:
    constant = torch.full((7, 9), level)
    assert math.isnan(pearson_r(states(7, 9), constant).item())
    assert math.isnan(pearson_r(constant, states(7, 9)).item())
    assert vrmse(constant + 0.5, constant).item() == pytest.approx(0.5 / math.sqrt(1e-7), rel=1e-6)
