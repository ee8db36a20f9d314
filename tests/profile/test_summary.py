"""Figures of a measurement, from windows made up for it."""

from __future__ import annotations

import pytest

from ptprof.energy import EnergyBreakdown
from ptprof.energy.combine import random_error
from ptprof.profile.bench import Info, Prepared
from ptprof.profile.protocol import QUICK
from ptprof.profile.scenarios import scenario
from ptprof.profile.summary import Subject, summarise
from ptprof.records import Environment, Idle

MACHINE = Environment(platform="p", python="3", cpu="c", cpu_cores=2, memory_bytes=1)
INFO = Info("a CPU", MACHINE, measures_idle=False)
PREPARED = Prepared("CPUExecutionProvider", 1000, None)


def _idle(window, kind="context"):
    return Idle(kind=kind, duration_s=window.duration_s, energy=window.energy)


@pytest.fixture
def summary(make_run):
    def summary(series, *, idle=(), batch=1, device="cpu", prepared=PREPARED, scene="one-step"):
        query = scenario(scene, batch=batch, steps=10)
        run = make_run("fno", EnergyBreakdown())
        subject = Subject(run, "onnxruntime", device, query, "abc")
        return summarise(subject, QUICK, prepared, INFO, series, idle)

    return summary


def test_energy_per_query_is_the_mean_over_windows(summary, make_window):
    """6 W, and 98, 100, 102 calls of 4 queries a second: 15.31, 15, 14.71 mJ, and t(2) s / sqrt(3)."""
    m = summary([make_window(calls) for calls in (98, 100, 102)], batch=4)
    samples = [6.0 / (4 * n) for n in (98, 100, 102)]
    assert m.energy_per_query.cpu.joules == pytest.approx(sum(samples) / 3)
    assert random_error(m.energy_per_query.cpu) == pytest.approx(0.7456e-3, rel=2e-3)
    assert m.energy_per_query.cpu.systematic == 0.5
    assert m.throughput_per_s.value == pytest.approx(400.0)
    assert m.throughput_per_s.high - 400.0 == pytest.approx(4 * 4.968, rel=1e-3)
    assert (m.batch, m.steps, m.scenario) == (4, 1, "one-step")


def test_latency_is_the_median_of_all_calls(summary, make_window):
    """Nine calls: the 2nd and the 8th of them hold the median at 95 %."""
    latencies = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 90.0)
    latency = summary([make_window(9, 1.0, latencies_s=latencies)]).latency_s
    assert (latency.low, latency.value, latency.high) == (0.2, 0.5, 0.8)


def test_calls_of_a_window_are_not_taken_for_independent(summary, make_window):
    """Three windows of forty equal calls each: only the windows say how far the median is known."""
    series = [make_window(40, 1.0, latencies_s=(seconds,) * 40) for seconds in (0.010, 0.011, 0.012)]
    latency = summary(series).latency_s
    half_width = 4.3027 * 0.001 / 3**0.5
    assert latency.value == 0.011
    assert latency.low == pytest.approx(0.011 - half_width, rel=1e-4)
    assert latency.high == pytest.approx(0.011 + half_width, rel=1e-4)


def test_active_energy_is_less_the_idle_share(summary, make_window):
    """300 W with 100 W of idle, 10 calls a second: 30 J a query, 20 J of them active."""
    series = [make_window(10, 1.0, gpu_w=300.0)] * 3
    idle = [_idle(make_window(1, 2.0, gpu_w=watts)) for watts in (98.0, 102.0)]
    m = summary(series, idle=idle, device="cuda:0", prepared=Prepared("p", 1, 2))
    assert m.idle_power_w == {"gpu": pytest.approx(100.0)}
    assert m.energy_per_query.gpu.joules == pytest.approx(30.0)
    assert m.energy_per_query.gpu.active_joules == pytest.approx(20.0)
    assert m.energy_per_query.cpu.active_joules is None


def test_the_model_of_the_cpu_knows_no_idle(summary, make_window):
    m = summary([make_window()] * 2, idle=[_idle(make_window())])
    assert m.idle_power_w == {}
    assert m.energy_per_query.cpu.flags == ("no idle share: the model knows none",)


def test_a_component_that_one_window_lacks_is_missing(summary, make_window):
    m = summary([make_window(gpu_w=100.0), make_window(), make_window(gpu_w=100.0)])
    assert m.energy_per_query.gpu is None
    assert m.energy_per_query.missing["gpu"] == "1 of 3 windows: none here"
    assert m.energy_per_query.missing["dram"] == "no DRAM sensor"


def test_the_flags_say_what_to_mind(summary, make_window):
    noisy = [make_window(n, flags=("foreign load 30%",) if n > 50 else ()) for n in (50, 100, 150)]
    m = summary(noisy, prepared=Prepared("p", None, None))
    assert not m.converged
    unmet = ("3 of 5 windows", "throughput known to ± 124.2%, not to ± 10%")
    assert m.flags == ("peak memory unknown", "foreign load in 2 of 3 windows", *unmet)
    assert m.unmet == unmet
    calm = [make_window(100 + i) for i in range(5)]
    assert (summary(calm).converged, summary(calm).flags, summary(calm).unmet) == (True, (), ())
    assert summary(calm, device="cuda:0").flags == ("peak memory unknown",)
