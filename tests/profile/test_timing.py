"""Windows of a query whose every call takes a known time, on a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from ptprof.energy import CpuModel, EnergyMeter
from ptprof.profile.foreign import CpuUse
from ptprof.profile.protocol import QUICK
from ptprof.profile.timing import measure_idle, measure_window, warm_up


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
        seconds, taken = measure_idle(1.0, meter, clock)
    assert taken.gpu.joules / seconds == pytest.approx(200.0, rel=0.01)


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
