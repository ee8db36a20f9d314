"""Energies of windows against powers whose integral is known."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from ptprof.energy import CpuModel, EnergyMeter
from ptprof.errors import EnergyError, UsageError


def _measure(clock, sensors, seconds, *, on_tick_every=None):
    """A window of ``seconds``; ending on a tick looked for every so often, where asked."""
    with EnergyMeter(sensors=sensors, clock=clock) as meter, meter.window() as window:
        begun = clock.now()
        clock.sleep(seconds)
        while on_tick_every and not window.ticked():
            clock.sleep(on_tick_every)
        ended = clock.now()
    return window, begun, ended


@pytest.mark.parametrize("seconds", [0.25, 1.0, 7.3])
@pytest.mark.parametrize("phase", [0.0, 0.033, 0.071])
def test_constant_power(kit, seconds, phase):
    clock = kit.Clock()
    counter = kit.Counter(clock, kit.constant(250.0), phase_s=phase)
    window, begun, ended = _measure(clock, [counter], seconds)
    assert window.duration_s == pytest.approx(seconds) == ended - begun
    assert window.gpu.joules == pytest.approx(250.0 * seconds, rel=0.005)
    assert window.gpu.low <= 250.0 * seconds <= window.gpu.high
    assert window.gpus == {"GPU-0": window.gpu}
    assert (window.gpu.source, window.gpu.gain_id, window.gpu.systematic) == ("measured", "GPU-0", 0.05)


def test_what_is_taken_after_the_block_is_not_in_it(kit):
    """The wait for the next tick is idle, and neither its energy nor its time belongs to the block."""
    for phase in range(10):
        clock = kit.Clock()
        busy = kit.busy_then_idle(50.0, 400.0, 0.0, math.inf)
        counter = kit.Counter(clock, busy, phase_s=phase / 100, systematic=0.0)
        seconds = 1.0 + phase / 77
        with EnergyMeter(sensors=[counter], clock=clock) as meter, meter.window() as window:
            clock.sleep(seconds)
            counter.taken = kit.busy_then_idle(50.0, 400.0, 0.0, clock.now())
        assert window.duration_s == pytest.approx(seconds)
        assert window.gpu.low <= 400.0 * seconds <= window.gpu.high
        # The bound from the next tick clips the estimate of the rest where most of that tick was idle.
        assert window.gpu.joules == pytest.approx(400.0 * seconds, rel=0.005)


def test_aligned_edges_beat_unaligned_ones(kit):
    aligned, unaligned = [], []
    rng = random.Random(1)
    for _ in range(100):
        clock = kit.Clock(rng.uniform(0, 100))
        counter = kit.Counter(clock, kit.constant(300.0), phase_s=rng.uniform(0, 0.1))
        seconds = rng.uniform(0.9, 1.1)
        before = counter.read()
        clock.sleep(seconds)
        unaligned.append((counter.read() - before) / (300.0 * seconds) - 1)
        window, _, _ = _measure(clock, [counter], seconds)
        aligned.append(window.gpu.joules / (300.0 * seconds) - 1)

    def rms(errors):
        return math.sqrt(statistics.fmean(e * e for e in errors))

    # Unaligned edges err by T / (sqrt(6) W): 4.1 % here.
    assert rms(unaligned) == pytest.approx(0.1 / math.sqrt(6), rel=0.25)
    assert rms(aligned) < rms(unaligned) / 10


def _scene(kit, rng):
    """A counter over a power of some form, and the time before anything begins."""
    clock = kit.Clock(rng.uniform(0, 1000), late=lambda: rng.expovariate(1 / 0.0003))
    start = clock.now()
    taken = rng.choice(
        [
            kit.constant(rng.uniform(50, 700)),
            kit.square(60.0, 600.0, rng.uniform(0.03, 0.9), rng.uniform(0, 1)),
            kit.ramp(80.0, rng.uniform(5, 100), start),
            kit.busy_then_idle(70.0, 650.0, start + rng.uniform(0.5, 1.5), start + rng.uniform(2, 5)),
        ]
    )
    gain = rng.gauss(1.0, 0.05 / 1.96)
    period = rng.choice([0.02, 0.1, 0.1])
    counter = kit.Counter(clock, taken, period_s=period, phase_s=rng.uniform(0, period), gain=gain)
    return clock, counter


@pytest.mark.parametrize("on_tick_every", [None, 0.004])
def test_the_truth_is_inside_the_interval(kit, on_tick_every):
    """At least 93 % of 200 scenes of random power, phase, gain and sleep that oversleeps; 95 % is nominal."""
    inside = 0
    for seed in range(200):
        rng = random.Random(seed)
        clock, counter = _scene(kit, rng)
        window, begun, ended = _measure(clock, [counter], rng.uniform(0.5, 4), on_tick_every=on_tick_every)
        truth = counter.taken(ended) - counter.taken(begun)
        inside += window.gpu.low <= truth <= window.gpu.high
    assert inside >= 186


@pytest.mark.parametrize("on_tick_every", [None, 0.004])
def test_the_interval_is_no_wider_than_a_tick(kit, on_tick_every):
    for seed in range(50):
        rng = random.Random(seed)
        clock = kit.Clock(rng.uniform(0, 1000))
        counter = kit.Counter(clock, kit.constant(300.0), phase_s=rng.uniform(0, 0.1), systematic=0.0)
        window, _, _ = _measure(clock, [counter], 2.0, on_tick_every=on_tick_every)
        half = (window.gpu.high - window.gpu.low) / 2 / window.gpu.joules
        assert half <= (0.102 / 2.0 if on_tick_every is None else 2 * 0.004 / 2.0)


def test_a_window_that_ends_on_a_tick_does_not_wait(kit):
    clock = kit.Clock()
    counter = kit.Counter(clock, kit.constant(300.0), phase_s=0.05)
    _, _, ended = _measure(clock, [counter], 1.0, on_tick_every=0.001)
    assert clock.now() == ended


@pytest.mark.parametrize("period", [0.01, 0.02, 0.1])
def test_the_tick_is_detected(kit, period):
    clock = kit.Clock()
    counter = kit.Counter(clock, kit.constant(100.0), period_s=period, phase_s=0.0037)
    with EnergyMeter(sensors=[counter], clock=clock) as meter:
        assert meter.tick_s == pytest.approx(period, abs=0.001)


def test_windows_overlap_and_add_up(kit):
    clock = kit.Clock()
    counter = kit.Counter(clock, kit.square(50.0, 500.0, 0.7), systematic=0.0)
    with EnergyMeter(sensors=[counter], clock=clock) as meter, meter.window() as whole:
        with meter.window() as first:
            clock.sleep(1.3)
        with meter.window() as second:
            clock.sleep(2.1)
    parts = first.gpu.joules + second.gpu.joules
    assert first.duration_s + second.duration_s <= whole.duration_s <= 3.4 + 4 * 0.1
    assert parts == pytest.approx(whole.gpu.joules, rel=0.15)
    assert whole.gpu.joules >= first.gpu.low + second.gpu.low


def test_several_boards_are_summed_and_kept_apart(kit):
    clock = kit.Clock()
    one = kit.Counter(clock, kit.constant(100.0), device_id="GPU-a")
    two = kit.Counter(clock, kit.constant(300.0), device_id="GPU-b", phase_s=0.04)
    window, _, _ = _measure(clock, [one, two], 5.0)
    assert window.gpus["GPU-a"].joules == pytest.approx(500.0, rel=0.03)
    assert window.gpus["GPU-b"].joules == pytest.approx(1500.0, rel=0.03)
    assert window.gpu.joules == pytest.approx(sum(e.joules for e in window.gpus.values()))
    assert window.gpu.gain_id == "GPU-a+GPU-b"
    assert window.gpu.systematic == pytest.approx(math.hypot(0.25, 0.75) * 0.05, rel=0.02)


def test_a_board_that_fails_leaves_no_partial_sum(kit):
    clock = kit.Clock()
    good = kit.Counter(clock, kit.constant(100.0), device_id="GPU-a")
    lost = kit.Counter(clock, kit.constant(300.0), device_id="GPU-b", dies_at_s=clock.now() + 3)
    window, _, _ = _measure(clock, [good, lost], 5.0)
    assert window.gpu is None
    assert window.missing["gpu"] == "GPU-b: the GPU has fallen off the bus"
    assert list(window.gpus) == ["GPU-a"]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"resets_at_s": 1002.0}, "went backwards"),
        ({"dies_at_s": 1002.0}, "fallen off the bus"),
        ({"dies_at_s": 0.0}, "fallen off the bus"),
        ({"stops_at_s": 0.0}, "stood still for 2"),
        ({"stops_at_s": 1001.0}, "stood still for"),
    ],
)
def test_a_counter_that_fails_has_no_figure_but_a_reason(kit, fault, why):
    clock = kit.Clock(1000.0)
    busy = iter(range(10))
    cpu = CpuModel(10.0, seconds=lambda: float(next(busy)))
    counter = kit.Counter(clock, kit.constant(300.0), **fault)
    window, _, _ = _measure(clock, [counter, cpu], 5.0)
    assert window.gpu is None
    assert why in window.missing["gpu"]
    assert window.gpus == {}
    assert window.cpu.joules == 10.0


@pytest.mark.parametrize("seconds", [0.04, 0.5, 3.21])
def test_an_open_window_tells_what_it_has_taken_so_far(kit, seconds):
    """To within a tick, without a wait, and without a trace in what it takes in the end."""
    clock = kit.Clock()
    counter = kit.Counter(clock, kit.constant(300.0), phase_s=0.03)
    cpu = CpuModel(10.0, seconds=lambda: clock.now() * 2)
    windows = []
    for asked in (True, False):
        with EnergyMeter(sensors=[counter, cpu], clock=clock) as meter, meter.window() as window:
            begun = clock.now()
            clock.sleep(seconds)
            if asked:
                elapsed_s, energy = window.so_far()
                assert clock.now() == begun + seconds
            clock.sleep(1.0)
        windows.append(window)
    assert elapsed_s == pytest.approx(seconds)
    assert 300.0 * (seconds - 0.1) - 1 <= energy.gpu.joules <= 300.0 * seconds + 1
    assert energy.gpu.low <= 300.0 * seconds or seconds < 0.1
    assert energy.cpu.joules == pytest.approx(20.0 * seconds)
    assert windows[0].gpu.joules == pytest.approx(windows[1].gpu.joules)


@pytest.mark.parametrize(
    ("fault", "why"),
    [({"resets_at_s": 1002.0}, "went backwards"), ({"dies_at_s": 1002.0}, "fallen off the bus")],
)
def test_what_fails_so_far_is_missing_and_said(kit, fault, why):
    clock = kit.Clock(1000.0)
    cpu = CpuModel(10.0, seconds=clock.now)
    counter = kit.Counter(clock, kit.constant(300.0), **fault)
    with EnergyMeter(sensors=[counter, cpu], clock=clock) as meter, meter.window() as window:
        clock.sleep(3.0)
        _, energy = window.so_far()
    assert energy.gpu is None
    assert why in energy.missing["gpu"]
    assert energy.cpu.joules == pytest.approx(30.0)


def test_a_reset_before_the_window_does_no_harm(kit):
    clock = kit.Clock(1000.0)
    counter = kit.Counter(clock, kit.constant(300.0), resets_at_s=1001.0)
    with EnergyMeter(sensors=[counter], clock=clock) as meter:
        clock.sleep(1.0)
        with meter.window() as window:
            clock.sleep(2.0)
    assert window.gpu.joules == pytest.approx(600.0, rel=0.005)


def test_a_window_within_a_tick_is_not_measured(kit):
    clock = kit.Clock()
    window, _, _ = _measure(clock, [kit.Counter(clock, kit.constant(300.0))], 0.03)
    assert window.gpu is None
    assert "0.03 s is shorter than a tick of the counter (0.1 s)" in window.missing["gpu"]


def test_nothing_counted_is_missing_and_not_zero(kit):
    clock = kit.Clock()
    window, _, _ = _measure(clock, [CpuModel(seconds=lambda: 3.0)], 1.5)
    assert window.cpu is None
    assert window.missing["cpu"] == "CPU seconds × 6 W per core: nothing was counted in 1.5 s"
    assert window.missing.keys() == {"gpu", "cpu", "dram"}
    assert window.breakdown().joules is None


def test_an_open_window_and_a_closed_meter_say_so(kit):
    meter = EnergyMeter(sensors=[], clock=kit.Clock())
    with pytest.raises(EnergyError, match="the meter is not open"), meter.window():
        pass
    with meter, meter.window() as window:
        for name in ("gpu", "cpu", "dram", "gpus", "missing", "duration_s"):
            with pytest.raises(EnergyError, match="still open"):
                getattr(window, name)
        with pytest.raises(AttributeError, match="no attribute 'tpu'"):
            _ = window.tpu
    assert window.gpu is None


def test_an_error_in_the_block_is_the_users(kit):
    clock = kit.Clock()
    with (
        EnergyMeter(sensors=[kit.Counter(clock, kit.constant(9.0))], clock=clock) as meter,
        pytest.raises(ValueError, match="theirs"),
        meter.window(),
    ):
        raise ValueError("theirs")


def test_a_machine_without_sensors_has_a_marked_model_of_its_cpu(tmp_path):
    with EnergyMeter(gpus=[], watts_per_core=10.0, rapl_root=tmp_path) as meter, meter.window() as window:
        sum(range(2_000_000))
    assert (window.cpu.source, window.cpu.systematic) == ("modelled", 0.5)
    assert window.cpu.high == pytest.approx(1.5 * window.cpu.joules)
    assert window.gpu is None
    assert window.missing == {"gpu": "no GPU was to be metered", "dram": "no RAPL here"}


@pytest.mark.parametrize("watts", [0.0, -3.0, math.nan, math.inf])
def test_watts_must_be_above_zero(watts):
    with pytest.raises(UsageError, match="watts per core"):
        EnergyMeter(watts_per_core=watts)
