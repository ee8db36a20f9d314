"""The increment parametrisation: the newest state plus a scaled change."""

import pytest
import torch

from ptprof.errors import DataError
from ptprof.records import Statistics
from ptprof.train import models
from ptprof.train.models.increment import Increment, calibrate
from ptprof.train.recipe import load_recipe

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
STATISTICS = Statistics(
    fields=FIELDS, mean=(0.0,) * 4, std=(0.5, 0.25, 2.0, 1.0), change_std=(0.05, 0.05, 0.02, 0.5)
)


@pytest.fixture
def constant_change():
    """A network that says the same change everywhere: 1, 2, 3 and 4 times the scale."""

    class Constant(torch.nn.Module):
        def forward(self, window):
            ones = torch.ones(len(window), 4, *window.shape[2:])
            return ones * torch.arange(1.0, 5.0).reshape(-1, 1, 1)

    module = Increment(Constant(), 4)
    calibrate(module, STATISTICS)
    return module


def test_the_newest_state_moves_by_the_scaled_change(constant_change):
    window = torch.randn(2, 16, 6, 8)
    moved = constant_change(window) - window[:, 12:]
    expected = torch.tensor([0.1, 2 * 0.2, 3 * 0.01, 4 * 0.5]).reshape(-1, 1, 1)
    torch.testing.assert_close(moved, expected.expand_as(moved), atol=1e-6, rtol=0)


def test_the_loss_is_zero_for_the_true_change_and_counts_fields_alike(constant_change):
    window = torch.randn(2, 16, 6, 8)
    following = constant_change(window)
    assert float(constant_change.training_loss(window, following)) < 1e-10
    for field, change in enumerate((0.1, 0.2, 0.01, 0.5)):
        wrong = following.clone()
        wrong[:, field] += change
        assert float(constant_change.training_loss(window, wrong)) == pytest.approx(0.25, rel=1e-3)


def test_the_scale_stays_with_the_weights():
    module = models.build("unet", "quick")
    calibrate(module, STATISTICS)
    other = models.build("unet", "quick")
    other.load_state_dict(module.state_dict())
    assert other.scale.flatten().tolist() == pytest.approx([0.1, 0.2, 0.01, 0.5])


def test_the_paper_forecasts_the_state_and_has_nothing_to_calibrate():
    assert load_recipe("paper").predict == "state"
    module = torch.nn.Conv2d(16, 4, 1)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    calibrate(module, STATISTICS)
    assert all(torch.equal(before[name], weight) for name, weight in module.state_dict().items())


def test_a_field_that_never_changes_is_refused():
    still = STATISTICS.model_copy(update={"change_std": (0.05, 0.0, 0.02, 0.5)})
    with pytest.raises(DataError, match="pressure does not change"):
        calibrate(models.build("unet", "quick"), still)
