"""Sensors of plugins: what they count is counted once, and what they cannot do has a reason."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

import ptprof
from ptprof import plugins
from ptprof.energy import Counter, EnergyMeter, probe
from ptprof.energy.gpus import NONE_ASKED, boards_named, gpu_sensors
from ptprof.energy.host import host_sensors
from ptprof.energy.own import own_counters
from ptprof.environment import SHARED_VARIABLE, host_id
from ptprof.errors import EnergyError, UsageError


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """No plugins but those of the test."""
    monkeypatch.setattr(plugins, "_registry", plugins._Registry())
    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.delenv(SHARED_VARIABLE, raising=False)


def sensors(*found, name="mine"):
    """Register a function that finds these."""

    def find():
        return found

    find.__name__ = name
    ptprof.sensor(find)


def counter(clock, watts=40.0, **changes):
    """A count at a constant power."""
    settings = {"component": "cpu", "device_id": "socket-0", "name": "mine", "systematic": 0.1}
    return Counter(**{"count": lambda: watts * clock.now(), **settings, **changes})


@pytest.fixture
def sockets(tmp_path):
    """RAPL: one package with memory, that count ten joules between two reads."""
    for folder, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram")):
        path = tmp_path / folder
        path.mkdir()
        (path / "name").write_text(name)
        (path / "energy_uj").write_text("1000000")
        (path / "max_energy_range_uj").write_text("262143328850")

    def move():
        for path in tmp_path.glob("*/energy_uj"):
            path.write_text("11000000")

    return SimpleNamespace(root=tmp_path, move=move)


def test_a_window_of_a_known_power_on_a_clock_that_is_moved(kit, tmp_path):
    clock = kit.Clock()
    sensors(counter(clock), counter(clock, watts=25.0, device_id="socket-1"))
    with EnergyMeter(gpus=[], clock=clock, rapl_root=tmp_path) as meter:
        with meter.window() as window:
            clock.sleep(2.5)
        assert meter.sees_idle
        assert [source.name for source in meter.plugins] == [plugins.sensors()[0].source.name]
    assert window.cpu.joules == pytest.approx(65.0 * 2.5)
    # Two sockets err each by themselves: in quadrature.
    assert window.cpu.systematic == pytest.approx(0.1 * math.hypot(40, 25) / 65)
    assert (window.cpu.source, window.cpu.sensor) == ("measured", "mine")
    assert window.cpu.gain_id == f"cpu-{host_id()}-socket-0+cpu-{host_id()}-socket-1"
    assert window.dram is None
    assert window.missing["dram"] == "no RAPL here"


def test_rapl_is_read_for_what_no_plugin_counts(kit, sockets):
    clock = kit.Clock()
    sensors(counter(clock))
    with EnergyMeter(gpus=[], clock=clock, rapl_root=sockets.root) as meter, meter.window() as window:
        clock.sleep(1.0)
        sockets.move()
    assert (window.cpu.joules, window.cpu.sensor) == (pytest.approx(40.0), "mine")
    assert (window.dram.joules, window.dram.sensor) == (pytest.approx(10.0), "RAPL DRAM")


def test_a_plugin_counts_the_memory_beside_a_model_of_the_cpu(kit, tmp_path):
    clock = kit.Clock()
    sensors(counter(clock, component="dram"))
    with EnergyMeter(gpus=[], clock=clock, rapl_root=tmp_path) as meter, meter.window() as window:
        clock.sleep(1.0)
    assert window.dram.joules == pytest.approx(40.0)
    assert window.cpu.source == "modelled"


def test_a_count_that_ticks_is_met_at_its_ticks(kit, tmp_path):
    clock = kit.Clock()
    stepped = counter(clock, count=lambda: 40.0 * math.floor(clock.now() * 10) / 10, ticks=True)
    sensors(stepped)
    with EnergyMeter(gpus=[], clock=clock, rapl_root=tmp_path) as meter, meter.window() as window:
        assert meter.tick_s == pytest.approx(0.1, abs=0.001)
        clock.sleep(1.23)
    assert window.cpu.low <= 40.0 * 1.23 <= window.cpu.high
    assert window.cpu.joules == pytest.approx(40.0 * 1.23, rel=0.005)


def refused():
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("count", "why", "readable"),
    [
        (
            refused,
            "the mine of socket-0 cannot be read: PermissionError: [Errno 13] Permission denied",
            False,
        ),
        (lambda: int("text"), "the mine of socket-0 cannot be read: ValueError: invalid literal", False),
        (lambda: math.nan, "the mine of socket-0 gives nan, which is no number of joules", False),
        (lambda: math.inf, "the mine of socket-0 gives inf", False),
        (lambda: 7.0, "mine: nothing was counted in 1 s", True),
        (iter([3.0, 2.0, 2.0]).__next__, "socket-0 went backwards, from 3 J to 2 J", True),
    ],
)
def test_what_cannot_be_counted_is_missing_with_its_reason_and_not_modelled(
    kit, tmp_path, count, why, readable
):
    clock = kit.Clock()
    sensors(counter(clock, count=count))
    with EnergyMeter(gpus=[], clock=clock, rapl_root=tmp_path) as meter, meter.window() as window:
        clock.sleep(1.0)
    assert window.cpu is None
    assert why in window.missing["cpu"]
    (found,) = [one for one in probe(rapl_root=tmp_path, clock=clock) if one.component == "cpu"]
    assert (found.sensor, found.source) == ("mine", "measured" if readable else None)
    assert readable or why in found.detail


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"component": "psu"}, "a counter is of gpu, cpu, dram, not of 'psu'"),
        ({"systematic": math.inf}, "not inf"),
        ({"systematic": -0.1}, "the gain error of mine is a share"),
        ({"systematic": math.nan}, "is a share, such as 0.1 for ± 10 %, not nan"),
        ({"name": ""}, "has a name and a device_id"),
        ({"device_id": ""}, "has a name and a device_id"),
    ],
)
def test_a_counter_says_what_it_is(kit, changes, why):
    with pytest.raises(EnergyError, match=why):
        counter(kit.Clock(), **changes)


@pytest.mark.parametrize(
    ("find", "why"),
    [
        (lambda: 1 / 0, "the sensor bad of .* has failed: ZeroDivisionError: division by zero"),
        (lambda: [object()], "the sensor bad of .* has failed: AttributeError: 'object' object has no"),
        (lambda: None, "the sensor bad of .* has failed: TypeError"),
        (lambda: [Counter(component="cpu")], "the sensor bad of .* has failed: TypeError: .*device_id"),
        (
            lambda: [ptprof.energy.CpuModel()],
            "bad of .*: its figures are modelled, and a sensor's are measured",
        ),
    ],
)
def test_a_function_that_fails_is_one_line_and_the_doctor_goes_on(find, why, tmp_path):
    find.__name__ = "bad"
    ptprof.sensor(find)
    with pytest.raises(EnergyError, match=why) as caught, EnergyMeter(gpus=[]):
        pass
    assert "\n" not in str(caught.value)
    found = probe(rapl_root=tmp_path)
    assert [one.detail for one in found if one.component is None] == [str(caught.value)]
    assert [one.source for one in found if one.component == "cpu"] == ["modelled"]


def test_nothing_is_counted_twice(kit):
    clock = kit.Clock()
    sensors(counter(clock), counter(clock))
    with pytest.raises(EnergyError, match=r"mine of .* would count the cpu socket-0 twice"):
        own_counters()
    # Of processors nobody knows which part another function counts.
    sensors(counter(clock, device_id="a"))
    sensors(counter(clock, device_id="b"), name="other")
    with pytest.raises(EnergyError, match=r"mine of .* and other of .* would count the cpu b twice"):
        own_counters()
    sensors(counter(clock, device_id="a", component="gpu"))
    assert [one.device_id for one in own_counters()] == ["a", "b"]


def test_a_sensor_that_keeps_to_the_protocol_is_taken_as_it_is(kit):
    clock = kit.Clock()
    sensors(kit.Counter(clock, kit.constant(100.0)))
    (found,) = own_counters()
    assert (found.component, found.device_id, found.gain_id, found.ticks) == ("gpu", "GPU-0", "GPU-0", True)
    clock.sleep(3.0)
    before = found.read()
    clock.sleep(1.0)
    assert found.read() - before == pytest.approx(100.0)


def test_whoever_shares_its_machine_counts_no_sockets_of_it(kit, monkeypatch, sockets):
    clock = kit.Clock()
    sensors(counter(clock), counter(clock, component="gpu", device_id="board"))
    monkeypatch.setenv(SHARED_VARIABLE, "others are here too")
    with ExitStack() as stack:
        found, missing = host_sensors(stack, rapl_root=sockets.root)
    assert [sensor.source for sensor in found] == ["modelled"]
    assert missing == {"cpu": "others are here too", "dram": "others are here too"}
    assert [one.device_id for one in own_counters()] == ["board"]


def boards(clock, *names):
    """A plugin's boards, each of its own power."""
    sensors(*(counter(clock, 100.0 * (i + 1), component="gpu", device_id=n) for i, n in enumerate(names)))


def test_boards_of_a_plugin_are_metered_where_they_are_meant(kit, tmp_path):
    clock = kit.Clock()
    boards(clock, "amd-0", "amd-1")
    for gpus, joules in ((None, 600.0), (["amd-1"], 400.0), (["amd-1", "amd-0"], 600.0), ([], None)):
        with EnergyMeter(gpus, clock=clock, rapl_root=tmp_path) as meter, meter.window() as window:
            clock.sleep(2.0)
        assert (None if window.gpu is None else window.gpu.joules) == pytest.approx(joules)
        assert set(window.gpus) == {"amd-0", "amd-1"} if joules == 600.0 else len(window.gpus) < 2
    assert window.missing["gpu"] == NONE_ASKED
    assert boards_named(["amd-1"]) == ("amd-1",)
    with pytest.raises(EnergyError, match="named twice"):
        boards_named(["amd-1", "amd-1"])


FAKE = """
import json, sys
from ptprof.energy import EnergyMeter, probe
from ptprof.energy.gpus import boards_named
gpus = json.loads(sys.argv[1])
with EnergyMeter(gpus) as meter:
    with meter.window() as window:
        while not window.ticked():
            pass
    found = {board: figure.sensor for board, figure in window.gpus.items()}
rows = {one.device_id: one.sensor for one in probe() if one.component == "gpu"}
print(json.dumps([found, rows, gpus and boards_named(gpus)]))
"""

PLUGIN = """
import time
import ptprof
from ptprof.energy import Counter

@ptprof.sensor
def riser():
    for board in {boards}:
        yield Counter(component="gpu", device_id=board, name="riser", count=time.monotonic, systematic=0.02)
"""


def nvml_boards(run_fake, count):
    script = "import json\nfrom ptprof.energy import probe\nprint(json.dumps([p.device_id for p in probe()"
    return run_fake(script + " if p.component == 'gpu']))", FAKE_NVML_BOARDS=count)


@pytest.mark.parametrize("by", ["all", "index", "uuid", "both"])
def test_a_plugin_counts_a_board_in_place_of_nvml(run_fake, tmp_path, by):
    first, second = nvml_boards(run_fake, 2)
    plugin = tmp_path / "riser.py"
    plugin.write_text(PLUGIN.format(boards=[first, "elsewhere"]))
    gpus = {"all": None, "index": [0, 1], "uuid": [first], "both": ["elsewhere", second]}[by]
    settings = {"FAKE_NVML_BOARDS": 2, "PTPROF_PLUGINS": plugin}
    found, rows, named = run_fake(FAKE, json.dumps(gpus), **settings)
    known = {first: "riser", second: "NVML energy counter", "elsewhere": "riser"}
    meant = {"all": [first, second, "elsewhere"], "index": [first, second], "uuid": [first]}
    assert found == {board: known[board] for board in meant.get(by, [second, "elsewhere"])}
    assert rows == known
    assert named is None or set(named) == set(found)


def test_a_board_that_is_not_there_is_named(kit):
    boards(kit.Clock(), "amd-0")
    with ExitStack() as stack:
        found = gpu_sensors(stack, ["amd-0", "amd-9"], own_counters())
    assert [sensor.device_id for sensor in found.sensors] == ["amd-0"]
    assert "NVIDIA driver" in found.missing


def test_a_plugin_that_cannot_be_imported_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text("import nowhere")
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "broken.py"))
    with pytest.raises(UsageError, match="nowhere"), EnergyMeter(gpus=[]):
        pass
