"""A module as a forecaster: fresh noise at each call where it samples, the same from the same seed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptprof.runtimes.noise import draw
from ptprof.train.forecaster import forecaster


class Noisy(nn.Module):
    takes_noise = True
    fields = 2

    def forward(self, window: Tensor, noise: Tensor) -> Tensor:
        return window[:, -2:] + noise


def test_a_module_that_samples_nothing_is_its_own_forecaster() -> None:
    module = nn.Identity()
    assert forecaster(module) is module


def test_noise_is_fresh_at_each_call_and_that_of_the_seed() -> None:
    window = torch.randn(3, 8, 16, 16)
    once, again = forecaster(Noisy(), 7), forecaster(Noisy(), 7)
    drawn = draw(7, 3, 2, 2, 16, 16)
    for lead in range(2):
        expected = window[:, -2:] + drawn[:, lead]
        torch.testing.assert_close(once(window), expected, rtol=0, atol=0)
        torch.testing.assert_close(again(window), expected, rtol=0, atol=0)
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    torch.testing.assert_close(forecaster(Noisy())(window), window[:, -2:] + draw(0, 3, 2, 16, 16))
