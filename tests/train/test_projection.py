"""From blocks to the cost of a training: arithmetic by hand, errors apart, what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from ptprof.energy.combine import energy, random_error
from ptprof.records import Block, Energy, EnergyBreakdown, Source
from ptprof.stats import series_mean
from ptprof.train.projection import Blocks, CostKnown, EpochSize


def figure(joules: float, source: Source = "measured", gain: str = "GPU-a") -> Energy:
    return energy(joules, 0.0, systematic=0.05, gain_id=gain, source=source, sensor="a sensor")


def blocks(seconds: Sequence[float], watts: float = 100.0, steps: int = 4) -> tuple[Block, ...]:
    return tuple(
        Block(start_s=0.0, duration_s=s, steps=steps, energy=EnergyBreakdown(gpu=figure(watts * s)))
        for s in seconds
    )


TRAIN, VALID = (2.0, 2.1, 1.9, 2.05, 1.95), (1.0, 1.1, 0.9)


def test_an_epoch_is_its_steps_at_their_mean_cost() -> None:
    both = Blocks(EpochSize(100.0, 10.5), blocks(TRAIN), blocks(VALID, watts=50.0))
    seconds = 7 * (100 * 2.0 / 4 + 10.5 * 1.0 / 4)
    assert both.duration(7).value == pytest.approx(seconds)
    gpu = both.energy(7).gpu
    assert gpu is not None
    assert gpu.joules == pytest.approx(7 * (100 * 200 / 4 + 10.5 * 50 / 4))
    assert (gpu.source, gpu.projected_from, gpu.gain_id) == ("projected", "measured", "GPU-a")
    assert (gpu.systematic, gpu.sensor) == (0.05, "a sensor")


def test_random_errors_of_the_two_phases_are_independent_and_the_gain_stays_apart() -> None:
    size = EpochSize(100.0, 10.0)
    gpu = Blocks(size, blocks(TRAIN), blocks(VALID)).energy(3).gpu
    assert gpu is not None
    halves = []
    for seconds, steps in ((TRAIN, 300), (VALID, 30)):
        half = series_mean([100 * s / 4 for s in seconds]).half_width(future=steps / 4)
        assert half is not None
        halves.append(steps * half)
    assert random_error(gpu) == pytest.approx(math.hypot(*halves))
    assert gpu.high - gpu.joules == pytest.approx(math.hypot(*halves, 0.05 * gpu.joules))


def test_the_half_width_is_that_of_joules_or_seconds_the_larger() -> None:
    steady = blocks([2.0] * 8)
    assert Blocks(EpochSize(1, 0), steady).half_width() == 0.0
    uneven = tuple(
        block.model_copy(update={"energy": EnergyBreakdown(gpu=figure(200.0 + 10 * (i % 2)))})
        for i, block in enumerate(steady)
    )
    expected = series_mean([(200.0 + 10 * (i % 2)) / 4 for i in range(8)])
    half = expected.half_width()
    assert half is not None
    assert Blocks(EpochSize(1, 0), uneven).half_width() == pytest.approx(half / expected.value)


def test_one_block_says_nothing_of_its_error() -> None:
    alone = Blocks(EpochSize(10, 0), blocks([2.0]))
    assert alone.half_width() is None
    gpu = alone.energy(1).gpu
    assert gpu is not None
    assert random_error(gpu) == pytest.approx(gpu.joules)
    with_validation = Blocks(EpochSize(100, 4), blocks([2.0] * 8), blocks([1.0]))
    assert with_validation.half_width() == pytest.approx(1.0 / 51.0)
    duration = with_validation.duration(1)
    assert duration.high == pytest.approx(duration.value + 1.0)


def test_a_component_that_a_block_lacks_is_missing_and_says_why() -> None:
    train = blocks(TRAIN)
    lost = train[0].model_copy(
        update={"energy": EnergyBreakdown(cpu=figure(1.0, "modelled", "cpu-model"), missing={"gpu": "gone"})}
    )
    found = Blocks(EpochSize(10, 0), (*train, lost)).energy(1)
    assert found.present == {}
    assert found.missing["gpu"] == "1 of 6 blocks: gone"
    assert found.missing["cpu"] == "5 of 6 blocks: not measured"
    assert Blocks(EpochSize(10, 0), (*train, lost)).duration(1).value > 0


def test_what_a_modelled_cost_is_projected_from_is_kept() -> None:
    both = EnergyBreakdown(gpu=figure(10.0), cpu=figure(5.0, "modelled", "cpu-model"))
    train = tuple(Block(start_s=0.0, duration_s=1.0, steps=1, energy=both) for _ in range(8))
    found = Blocks(EpochSize(10, 0), train).energy(2)
    assert [(c, e.projected_from) for c, e in found.present.items()] == [
        ("gpu", "measured"),
        ("cpu", "modelled"),
    ]
    assert found.joules == pytest.approx(300.0)


def test_a_rule_is_met_by_enough_blocks_that_agree() -> None:
    rule = CostKnown("a training step", 0.02, 8)
    assert rule.unmet == "the cost of a training step is not known to ± 2% (0 blocks)"
    for number, block in enumerate(blocks([2.0, 2.001] * 4)):
        assert not rule.is_finished(), number
        rule.add_measurement(block)
    assert rule.is_finished()
    assert rule.unmet is None
    rule.initialize()
    assert not rule.is_finished()


def test_a_rule_that_is_unmet_says_what_is_lacking() -> None:
    rule = CostKnown("a training step", 0.02, 8)
    rule.add_measurement(blocks([2.0])[0])
    assert rule.unmet == "the cost of a training step is not known to ± 2% (1 block alone)"
    rule.add_measurement(blocks([2.0])[0])
    assert rule.unmet == "the cost of a training step is known from 2 of at least 8 blocks"
    for block in blocks([2.0, 3.0, 2.5, 2.0, 3.0, 2.5]):
        rule.add_measurement(block)
    assert rule.unmet is not None
    assert rule.unmet.endswith("%, not to ± 2%")


def test_validation_need_not_be_known_as_well_as_training() -> None:
    """3 % of an epoch are validation: their cost may err by 10 %."""
    rough = blocks([1.0, 1.1, 0.95, 1.02])
    for share, met in ((0.03, True), (3.0, False)):
        size = EpochSize(100.0, share * 200.0)
        rule = CostKnown("an epoch", 0.02, 3, size=size, before=blocks([2.0, 2.001] * 4))
        for block in rough:
            rule.add_measurement(block)
        assert rule.is_finished() is met
