"""Operations, bytes and peaks against hand counts; where a step stands under the roof."""

from __future__ import annotations

import itertools

import pytest

from ptprof.profile import roofline
from ptprof.profile.roof import Roof, roof
from ptprof.profile.roofline import Peaks
from ptprof.records import EnergyBreakdown, Interval, Load, Work

STATE = 4 * 4 * 48 * 96 * 4
NEXT = 4 * 48 * 96 * 4


def test_a_step_moves_its_weights_once_and_its_states(study):
    run = study.run("fno")
    one, three = (
        roofline.work(study, run, batch=batch, nfe=None, precision="fp32", peaks=Peaks(1e12, 1e11))
        for batch in (1, 3)
    )
    assert three.bytes - one.bytes == 2 * (2 * STATE + NEXT)
    assert three.flops == 3 * one.flops
    assert (one.peak_flops_per_s, one.peak_bytes_per_s) == (1e12, 1e11)
    half = roofline.work(study, run, batch=1, nfe=None, precision="bf16", peaks=None)
    weights = one.bytes - (2 * STATE + NEXT)
    assert half.bytes == weights / 2 + 2 * STATE + NEXT
    assert half.peak_flops_per_s is None
    # All parameters are weights; the matrices of the transforms come on top, and are small.
    from ptprof.train.models import build

    parameters = sum(p.numel() * p.element_size() for p in build("fno", "quick").parameters())
    assert parameters <= weights <= 1.1 * parameters


def test_peaks_are_those_of_the_best_time(monkeypatch):
    times = iter([0.5, 0.25])
    monkeypatch.setattr(roofline, "_best", lambda action, device: (action(), next(times))[1])
    monkeypatch.setattr(roofline, "_SIDES", {"cpu": 64})
    monkeypatch.setattr(roofline, "_COPIED_BYTES", {"cpu": 1 << 20})
    found = roofline.peaks.__wrapped__("cpu", "bf16")
    assert found == Peaks(2 * 64**3 / 0.5, 2 * (1 << 20) / 0.25)


def test_the_first_time_does_not_count_and_the_shortest_does(monkeypatch):
    lengths = [0.1, 3.0, 2.0, 4.0, 2.5, 5.0]
    stamps = itertools.chain.from_iterable((10.0 * i, 10.0 * i + length) for i, length in enumerate(lengths))
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(stamps))
    assert roofline._best(lambda: None, "cpu") == pytest.approx(2.0)


@pytest.fixture
def measured(make_measurement):
    def measured(latency, *, flops=2e9, moved=1e7, steps=1, **changes):
        work = Work(flops=flops, bytes=moved, peak_flops_per_s=1e11, peak_bytes_per_s=1e10)
        return make_measurement(
            "fno",
            EnergyBreakdown(),
            latency_s=Interval(value=latency),
            steps=steps,
            **{"work": work, **changes},
        )

    return measured


def test_a_step_is_held_against_the_longer_of_two(measured):
    # 2 GFLOP at 100 GFLOP/s take 20 ms, 10 MB at 10 GB/s take 1 ms.
    assert roof(measured(0.04)) == Roof(0.02, 0.5, "computing", 200.0)
    assert roof(measured(0.4, steps=10)) == Roof(0.02, 0.5, "computing", 200.0)
    # 1 GB takes 100 ms.
    assert roof(measured(0.4, moved=1e9)) == Roof(0.1, 0.25, "memory", 2.0)


def test_under_a_load_the_time_of_service_counts(measured):
    load = Load(
        rate_per_s=9.0,
        duration_s=1.0,
        offered_load=0.9,
        utilisation=0.9,
        service_s=Interval(value=0.04),
        backlog=3.0,
        unanswered=0,
        stable=True,
    )
    assert roof(measured(0.4, load=load)).share == 0.5


def test_without_a_count_or_peaks_there_is_no_roof(measured):
    assert roof(measured(0.04, work=None)) is None
    assert roof(measured(0.04, flops=None)) is None
    nothing = Work(flops=1.0, bytes=1.0, peak_flops_per_s=None, peak_bytes_per_s=None)
    assert roof(measured(0.04, work=nothing)) is None
