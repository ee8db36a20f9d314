"""A recorded trace gives the joules that it holds."""

from __future__ import annotations

import json

import pytest

from ptprof.energy import EnergyMeter
from ptprof.energy.replay import Replay
from ptprof.errors import DataError, EnergyError
from ptprof.records import PowerSamples


def _csv(path, column, rows):
    path.write_text(f"time_s,{column}\n" + "".join(f"{t},{v}\n" for t, v in rows))
    return path


@pytest.fixture
def watts(tmp_path):
    """100 W for two seconds, then up to 300 W within one and there for three."""
    return _csv(tmp_path / "trace.csv", "power_w", [(50.0, 100), (52.0, 100), (53.0, 300), (56.0, 300)])


def test_watts_are_integrated(watts, kit):
    clock = kit.Clock()
    replay = Replay(watts, clock)
    for elapsed, joules in [
        (0.0, 0.0),
        (1.0, 100.0),
        (2.0, 200.0),
        (2.5, 275.0),
        (3.0, 400.0),
        (6.0, 1300.0),
    ]:
        clock.time_s = 1000.0 + elapsed
        assert replay.read() == pytest.approx(joules)


def test_a_window_over_it_has_its_energy(watts, kit):
    clock = kit.Clock()
    replay = Replay(watts, clock, systematic=0.02)
    with EnergyMeter(sensors=[replay], clock=clock) as meter:
        clock.sleep(1.0)
        with meter.window() as window:
            clock.sleep(2.0)
    assert window.gpu.joules == pytest.approx(300.0)
    assert window.gpu.high == pytest.approx(306.0)
    assert (window.gpu.sensor, window.gpu.source) == ("replay of trace.csv", "measured")


def test_a_counter_is_shown_as_it_was_read_and_its_tick_is_found(tmp_path, kit):
    rows = [(i * 0.05, 10_000 + 25.0 * (i // 2)) for i in range(200)]
    clock = kit.Clock()
    replay = Replay(_csv(tmp_path / "counter.csv", "joules", rows), clock)
    with EnergyMeter(sensors=[replay], clock=clock) as meter:
        assert meter.tick_s == pytest.approx(0.1, abs=0.002)
        with meter.window() as window:
            clock.sleep(3.0)
    assert window.gpu.joules == pytest.approx(750.0, rel=0.005)


def test_samples_that_were_kept_are_replayed(tmp_path, kit):
    samples = PowerSamples(
        device_id="GPU-0", reading="instant power", interval_s=0.5, time_s=(9.0, 10.0), power_w=(40.0, 60.0)
    )
    path = tmp_path / "kept.json"
    path.write_text(samples.model_dump_json())
    clock = kit.Clock()
    replay = Replay(path, clock, component="cpu")
    clock.sleep(1.0)
    assert replay.read() == pytest.approx(50.0)
    assert replay.component == "cpu"


def test_after_its_end_there_is_no_figure(watts, kit):
    clock = kit.Clock()
    replay = Replay(watts, clock)
    clock.sleep(6.5)
    with pytest.raises(EnergyError, match="ends after 6 s"):
        replay.read()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "time_s,power_w\n1,2\n", "at least two"),
        ("a.csv", "", "0 times and 0 values"),
        ("a.csv", "1,2\n2,3\n", "needs time_s and joules or power_w"),
        ("a.csv", "time,power_w\n1,2\n2,3\n", "needs time_s"),
        ("a.csv", "time_s,power_w\n1,2\n2,much\n", "needs time_s"),
        ("a.csv", "time_s,power_w\n1,2\n2,nan\n", "not all of it are numbers"),
        ("a.csv", "time_s,power_w\n1,2\n1,3\n", "times do not grow"),
        ("a.csv", "time_s,power_w\n1,2\n2,-3\n", "below zero"),
        ("a.csv", "time_s,joules\n1,2\n2,1\n", "count falls"),
        ("a.json", "[1, 2]", "needs time_s"),
        ("a.json", "{", "needs time_s"),
        ("a.json", json.dumps({"time_s": [1, 2, 3], "joules": [1, 2]}), "3 times and 2 values"),
        ("b.csv", None, "cannot be read"),
    ],
)
def test_what_cannot_be_replayed_is_refused(tmp_path, kit, name, text, words):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=words):
        Replay(path, kit.Clock())
