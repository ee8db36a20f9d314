"""Windows of a query whose every call takes a known time, on a virtual clock."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ptprof.energy import CpuModel, EnergyMeter
from ptprof.energy.board import BoardState
from ptprof.errors import EnergyError
from ptprof.profile.foreign import CpuUse
from ptprof.profile.protocol import FULL, QUICK
from ptprof.profile.timing import measure_idle, measure_window, warm_up, warm_up_until_steady
from ptprof.records import PowerSamples


@dataclass
class Ticking:
    """A GPU at 200 W whose counter moves every 100 ms."""

    clock: Any
    component: str = "gpu"
    device_id: str = "GPU-a"
    gain_id: str = "GPU-a"
    name: str = "counter"
    source: str = "measured"
    systematic: float = 0.0
    ticks: bool = True

    def read(self) -> float:
        return 20.0 * int(self.clock.now() / 0.1 + 1e-6)


def _window(clock, call_s, sensors=None, **settings):
    count = 0

    def call():
        nonlocal count
        count += 1
        clock.sleep(call_s)

    sensors = [CpuModel(seconds=clock.now)] if sensors is None else sensors
    with EnergyMeter(sensors=sensors, clock=clock) as meter:
        begun = clock.now()
        window = measure_window(call, QUICK, meter, clock, **({"cpu_use": lambda: None} | settings))
        return window, count, begun


@pytest.mark.parametrize(("call_s", "calls"), [(0.001, 1000), (0.3, 4), (0.45, 3), (0.7, 3), (2.5, 1)])
def test_calls_are_counted_and_timed(clock, call_s, calls):
    window, called, begun = _window(clock, call_s, origin_s=900.0)
    assert window.calls == pytest.approx(calls, abs=1)
    assert called == window.calls + 1  # the one before the window
    assert window.latencies_s == pytest.approx([call_s] * window.calls)
    assert window.duration_s == pytest.approx(window.calls * call_s)
    assert window.start_s == pytest.approx(begun + call_s - 900.0)
    assert window.energy.cpu.joules == pytest.approx(6.0 * window.duration_s)


def test_of_very_many_calls_some_latencies_are_kept(clock):
    """47,620 calls of 21 µs in a second: every fifth."""
    window, _, _ = _window(clock, 21e-6)
    assert window.calls == pytest.approx(47_620, abs=2)
    assert len(window.latencies_s) == pytest.approx(9_524, abs=1)
    assert set(window.latencies_s) == {21e-6}


def test_short_calls_end_on_a_tick(clock):
    window, _, _ = _window(clock, 0.004, [Ticking(clock)])
    assert 1.0 <= window.duration_s <= 1.104
    assert window.energy.gpu.joules == pytest.approx(200.0 * window.duration_s, rel=0.005)
    assert window.energy.gpu.high - window.energy.gpu.low <= 4 * 200.0 * 0.004


def test_long_calls_do_not_wait_for_one(clock):
    window, _, _ = _window(clock, 0.26, [Ticking(clock)])
    assert window.calls == 4
    assert window.energy.gpu.low <= 200.0 * window.duration_s <= window.energy.gpu.high


def test_idle_is_what_is_taken_without_work(clock):
    with EnergyMeter(sensors=[Ticking(clock)], clock=clock) as meter:
        idle = measure_idle(1.0, meter, clock)
    assert idle.kind == "context"
    assert idle.energy.gpu.joules / idle.duration_s == pytest.approx(200.0, rel=0.01)


@pytest.mark.parametrize(("others_s", "flags"), [(0.1, ()), (0.5, ("foreign load 25%",))])
def test_the_load_of_others_is_flagged(clock, others_s, flags):
    uses = iter([CpuUse(10.0, 3.0, cores=2), CpuUse(12.0 + others_s, 5.0, cores=2)])
    window, _, _ = _window(clock, 0.25, cpu_use=lambda: next(uses))
    assert window.flags == flags


@pytest.mark.parametrize(("call_s", "calls"), [(0.3, 4), (5.0, 1)])
def test_a_warm_up_takes_its_time_and_one_call_at_least(clock, call_s, calls):
    assert warm_up(lambda: clock.sleep(call_s), 1.0, clock) == calls


def test_protocols_can_ask_for_longer_windows(clock):
    longer = replace(QUICK, window_s=5.0, min_calls=32)
    with EnergyMeter(sensors=[], clock=clock) as meter:
        window = measure_window(lambda: clock.sleep(0.5), longer, meter, clock, cpu_use=lambda: None)
    assert window.calls == 32


def test_a_full_window_has_50_ticks_of_a_slow_counter(clock):
    """A counter that moves every 0.2 s: 10 s, after a second of running in, and the energy of the calls."""
    slow = Ticking(clock)
    slow.read = lambda: 40.0 * int(clock.now() / 0.2 + 1e-6)
    count = 0

    def call():
        nonlocal count
        count += 1
        clock.sleep(0.02)

    with EnergyMeter(sensors=[slow], clock=clock) as meter:
        window = measure_window(call, FULL, meter, clock, cpu_use=lambda: None)
    assert 10.0 <= window.duration_s <= 10.5
    assert count - window.calls == pytest.approx(50, abs=1)
    assert window.energy.gpu.joules == pytest.approx(200.0 * window.duration_s, rel=0.005)


def test_a_call_that_fills_a_window_needs_none_before_it(clock):
    calls = []
    for usual_s in (0.0, 6.0):
        count = 0

        def call():
            nonlocal count
            count += 1
            clock.sleep(6.0)

        with EnergyMeter(sensors=[], clock=clock) as meter:
            measure_window(call, FULL, meter, clock, usual_s=usual_s, cpu_use=lambda: None)
        calls.append(count)
    assert calls == [2, 1]


@dataclass
class Warming(Ticking):
    """A board that comes up to 70 °C, slower and slower, and shows whole degrees."""

    since_s: float = 0.0
    slowness_s: float = 5.0

    def state(self):
        elapsed_s = self.clock.now() - self.since_s
        return BoardState(temperature_c=float(round(70.0 - 40.0 * math.exp(-elapsed_s / self.slowness_s))))

    def facts(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("slowness_s", "protocol", "least_s", "most_s"),
    [
        (0.5, FULL, 10.0, 11.0),  # 5 s of warm-up, and 5 s in which nothing moves
        (5.0, FULL, 20.0, 30.0),  # within half a degree of 70 °C after 5 ln(80) = 22 s
        (100.0, FULL, 60.0, 61.0),  # a degree every 2.5 to 4.6 s: the cap
        (5.0, QUICK, 1.0, 1.1),
    ],
)
def test_a_warm_up_lasts_until_the_temperature_stands_still(clock, slowness_s, protocol, least_s, most_s):
    with EnergyMeter(sensors=[Warming(clock, slowness_s=slowness_s)], clock=clock) as meter:
        begun = meter._sensors[0][0].since_s = clock.now()
        calls = warm_up_until_steady(lambda: clock.sleep(0.05), protocol, meter, clock)
    assert least_s <= clock.now() - begun <= most_s
    assert calls == pytest.approx((clock.now() - begun) / 0.05, abs=1)


def test_a_warm_up_without_a_thermometer_goes_by_time(clock):
    begun = clock.now()
    with EnergyMeter(sensors=[CpuModel(seconds=clock.now)], clock=clock) as meter:
        warm_up_until_steady(lambda: clock.sleep(0.05), FULL, meter, clock)
    assert clock.now() - begun == pytest.approx(5.0, abs=0.06)


class Sampled:
    """Power sampled beside the counter: so many watts of what the board takes."""

    def __init__(self, watts):
        self.watts = watts

    def samples(self, uuid, start_s, end_s):
        if self.watts is None:
            raise EnergyError("no power")
        count = 2 + math.ceil((end_s - start_s) / 0.02)
        times = tuple(start_s - 0.01 + 0.02 * i for i in range(count))
        powers = (self.watts,) * count
        return PowerSamples(
            device_id=uuid, reading="instant power", interval_s=0.02, time_s=times, power_w=powers
        )


@pytest.mark.parametrize(
    ("watts", "flags"),
    [(199.0, ()), (180.0, ("sampled power gives 10% less than the counter",)), (None, ())],
)
def test_the_counter_is_held_against_sampled_power(clock, watts, flags):
    with EnergyMeter(sensors=[Warming(clock)], clock=clock) as meter:
        window = measure_window(
            lambda: clock.sleep(0.004), FULL, meter, clock, trace=Sampled(watts), cpu_use=lambda: None
        )
    (board,) = window.boards
    assert window.flags == flags
    assert board.joules == window.energy.gpu.joules
    if watts is None:
        assert board.sampled_j is board.power is None
    else:
        assert board.sampled_j == pytest.approx(watts * window.duration_s)
        assert set(board.power.power_w) == {watts}


def test_a_counter_that_is_reset_in_a_window_loses_it(clock):
    sensor = Ticking(clock)
    counted = sensor.read
    calls = 0

    def call():
        nonlocal calls
        calls += 1
        if calls == 50:
            sensor.read = lambda: 0.0
        clock.sleep(0.02)

    sensor.read = counted
    with EnergyMeter(sensors=[sensor], clock=clock) as meter:
        window = measure_window(call, QUICK, meter, clock, cpu_use=lambda: None)
    assert window.energy.gpu is None
    assert len(window.flags) == 1
    assert re.match("energy lost: the counter of GPU-a went backwards", window.flags[0])
