"""The deployable step: physical units in and out, the window moved on by one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ptprof.errors import ExportError
from ptprof.export import DeployableStep
from ptprof.records import Statistics


class Channels(nn.Module):
    """Gives the channels that it is told to, as they are."""

    def __init__(self, chosen: slice) -> None:
        super().__init__()
        self.chosen = chosen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.chosen]


class Affine(nn.Module):
    """Twice the newest state, plus one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x[:, -2:] + 1


@pytest.mark.parametrize(("chosen", "age"), [(slice(0, 4), 0), (slice(8, 12), 2), (slice(-4, None), 3)])
def test_channels_are_step_times_fields_plus_field_oldest_step_first(chosen, age, states, statistics):
    state = states(2, (16, 16))
    following, _ = DeployableStep(Channels(chosen), statistics, 4)(state)
    torch.testing.assert_close(following, state[:, age], rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    mean=st.tuples(*[st.floats(-100, 100, width=32)] * 2),
    std=st.tuples(*[st.floats(2**-6, 64, width=32)] * 2),
    history=st.integers(1, 3),
    batch=st.integers(1, 3),
)
def test_the_model_sees_standardised_fields_and_gives_them(mean, std, history, batch):
    statistics = Statistics(fields=("a", "b"), mean=mean, std=std)
    rng = np.random.default_rng(0)
    mean_, std_ = (np.reshape(v, (2, 1, 1)) for v in (mean, std))
    standardised = rng.standard_normal((batch, history, 2, 4, 6))
    state = torch.tensor(standardised * std_ + mean_, dtype=torch.float32)
    following, state_out = DeployableStep(Affine(), statistics, history)(state)

    expected = (2 * standardised[:, -1] + 1) * std_ + mean_
    # Rounding is relative to the largest number on the way, which a mean far from zero is.
    scale = float(np.max(np.abs(mean_) + 8 * std_))
    np.testing.assert_allclose(following.numpy(), expected, rtol=0, atol=2e-6 * scale)
    assert torch.equal(state_out[:, -1], following)
    assert torch.equal(state_out[:, :-1], state[:, 1:])


@pytest.mark.parametrize("std", [0.0, -1.0])
def test_a_deviation_that_cannot_be_divided_by_is_refused_by_the_field_s_name(std):
    statistics = Statistics(fields=("a", "b"), mean=(0.0, 0.0), std=(1.0, std))
    with pytest.raises(ExportError, match="statistics of b"):
        DeployableStep(Affine(), statistics, 1)


def test_a_window_without_a_state_is_refused(statistics):
    with pytest.raises(ExportError, match="1 state or more"):
        DeployableStep(Affine(), statistics, 0)
