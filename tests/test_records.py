"""Records refuse what cannot be a figure."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from ptprof.records import Energy, EnergyBreakdown


def energy(joules: float, low: float, high: float) -> Energy:
    return Energy(
        joules=joules, low=low, high=high, systematic=0.05, gain_id="GPU-1", source="measured", sensor="nvml"
    )


def test_the_joules_of_a_breakdown_are_the_sum_of_what_is_there() -> None:
    both = EnergyBreakdown(gpu=energy(2, 1, 3), cpu=energy(5, 4, 6), missing={"dram": "no sensor"})
    assert both.joules == 7
    assert list(both.present) == ["gpu", "cpu"]
    assert EnergyBreakdown(missing={"gpu": "no GPU"}).joules is None


@pytest.mark.parametrize("joules", [math.nan, math.inf, -1.0])
def test_energy_is_a_finite_number_of_joules(joules: float) -> None:
    with pytest.raises(ValidationError):
        energy(joules, joules, joules)


def test_energy_lies_within_its_interval() -> None:
    with pytest.raises(ValidationError, match="must hold"):
        energy(5, 6, 7)
