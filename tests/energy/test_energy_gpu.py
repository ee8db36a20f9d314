"""The energy counter of a real board."""

from __future__ import annotations

import time

import pytest

from ptprof.energy import EnergyMeter, MonotonicClock, probe, second_opinions
from ptprof.energy.carbontracker import Carbontracker
from ptprof.energy.trace import PowerTrace

pytestmark = pytest.mark.gpu


def _settled(meter: EnergyMeter, seconds: float) -> None:
    """Let the power come to rest."""
    with meter.window():
        time.sleep(seconds)


def test_idle_power_is_that_of_a_board_and_steady():
    import torch

    torch.zeros(1, device="cuda:0")
    with EnergyMeter(gpus=[0]) as meter:
        _settled(meter, 3.0)
        powers = []
        for _ in range(2):
            with meter.window() as window:
                time.sleep(2.0)
            powers.append(window.gpu.joules / window.duration_s)
    assert 3.0 < min(powers) <= max(powers) < 250.0
    assert powers[0] == pytest.approx(powers[1], rel=0.1)


def test_the_tick_is_regular():
    ticks = [found.tick_s for found in [*probe(), *probe()] if found.component == "gpu" and found.source]
    assert ticks
    assert all(0.005 < tick < 0.25 for tick in ticks)
    assert max(ticks) < 1.25 * min(ticks)


def test_the_board_is_torchs():
    import torch

    with EnergyMeter(gpus=[0]) as meter, meter.window() as window:
        torch.ones(64, 64, device="cuda:0") @ torch.ones(64, 64, device="cuda:0")
        time.sleep(0.5)
    (uuid,) = window.gpus
    assert uuid == f"GPU-{torch.cuda.get_device_properties(0).uuid}"


def test_twice_the_work_takes_twice_the_energy():
    import torch

    a = torch.randn(4096, 4096, device="cuda:0")

    def work(count: int) -> None:
        for _ in range(count):
            a @ a
        torch.cuda.synchronize()

    work(20)
    begun = time.perf_counter()
    work(50)
    per_product = (time.perf_counter() - begun) / 50
    count = max(int(2.5 / per_product), 10)
    with EnergyMeter(gpus=[0]) as meter:
        work(2 * count)  # warm in every sense
        joules = []
        for times in (1, 2, 1, 2):
            with meter.window() as window:
                work(times * count)
            joules.append(window.gpu.joules / times)
    assert sum(joules[1::2]) == pytest.approx(sum(joules[::2]), rel=0.05)


def _products(seconds: float) -> None:
    """Keep the board busy for so long."""
    import torch

    a = torch.randn(4096, 4096, device="cuda:0")
    clock = MonotonicClock()
    until_s = clock.now() + seconds
    while clock.now() < until_s:
        for _ in range(20):
            a @ a
        torch.cuda.synchronize()


def test_a_board_tells_its_state():
    import torch

    torch.zeros(1, device="cuda:0")
    with EnergyMeter(gpus=[0]) as meter:
        (state,) = meter.board_states().values()
        (facts,) = meter.board_facts()
    assert 10.0 < state.temperature_c < 110.0
    assert 1e8 < state.sm_clock_hz <= facts.max_sm_clock_hz
    assert state.throttle_reasons is not None
    assert 30.0 < facts.power_limit_w <= facts.default_power_limit_w
    assert facts.architecture is not None


def test_sampled_power_and_carbontracker_are_near_the_counter():
    """Steady work, ten seconds of it: Carbontracker's first second is of the work before."""
    _products(3.0)
    clock = MonotonicClock()
    with (
        EnergyMeter(gpus=[0]) as meter,
        PowerTrace(meter.boards) as trace,
        Carbontracker([0]) as tracker,
    ):
        _products(2.0)
        with meter.window() as window:
            tracker.start()
            begun_s = clock.now()
            _products(10.0)
            ended_s = clock.now()
            opinion = tracker.stop()
        (uuid,) = meter.boards
        joules = window.gpu.joules / window.duration_s
        assert trace.joules(uuid, begun_s, ended_s) / (ended_s - begun_s) == pytest.approx(joules, rel=0.1)
    assert opinion.missing is None
    assert opinion.joules / opinion.duration_s == pytest.approx(joules, rel=0.15)


def test_all_second_opinions_are_here():
    assert all(opinion.here for opinion in second_opinions())
