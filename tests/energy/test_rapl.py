"""RAPL as what it is: a folder of files, with whatever permissions they have."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptprof.energy import EnergyMeter, total
from ptprof.energy.rapl import MOST_WATTS, Rapl, RaplCounter, Zone
from ptprof.errors import EnergyError

RANGE_UJ = 262_143_328_850


class Folder:
    """A powercap folder; ``spend`` lets time pass and the zones count."""

    def __init__(self, root, clock):
        self.root, self.clock = root, clock
        self.counts = {}

    def zone(self, folder, name, count_uj=5_000_000, range_uj=RANGE_UJ):
        path = self.root / folder
        path.mkdir(parents=True)
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.counts[folder] = (count_uj, range_uj)
        self._write(folder)
        return path

    def spend(self, seconds, **watts):
        """Each zone, with ``_`` for ``:`` and ``-``, takes so many watts."""
        self.clock.sleep(seconds)
        for folder, (count, wraps_at) in self.counts.items():
            taken = watts.get(folder.replace(":", "_").replace("-", "_"), 0.0) * seconds
            self.counts[folder] = ((count + round(taken * 1e6)) % wraps_at, wraps_at)
            self._write(folder)

    def _write(self, folder):
        (self.root / folder / "energy_uj").write_text(f"{self.counts[folder][0]}\n")


@pytest.fixture
def folder(tmp_path, kit):
    return Folder(tmp_path, kit.Clock())


@pytest.fixture
def server(folder):
    """Two sockets with memory, cores and the whole machine, each package also by way of mmio."""
    folder.zone("intel-rapl", "intel-rapl")
    for socket in (0, 1):
        folder.zone(f"intel-rapl:{socket}", f"package-{socket}")
        folder.zone(f"intel-rapl:{socket}:0", "dram")
        folder.zone(f"intel-rapl:{socket}:1", "core")
        folder.zone(f"intel-rapl-mmio:{socket}", f"package-{socket}")
    folder.zone("intel-rapl:2", "psys")
    return folder


def _meter(folder, **settings):
    return EnergyMeter(gpus=[], clock=folder.clock, rapl_root=folder.root, **settings)


def test_packages_and_memory_are_summed_and_nothing_else_is(server):
    with _meter(server) as meter:
        assert meter.sees_idle
        with meter.window() as window:
            server.spend(
                10.0,
                intel_rapl_0=150.0,
                intel_rapl_1=50.0,
                intel_rapl_0_0=20.0,
                intel_rapl_1_0=10.0,
                intel_rapl_0_1=140.0,
                intel_rapl_2=400.0,
                intel_rapl_mmio_0=150.0,
                intel_rapl_mmio_1=50.0,
            )
    assert window.cpu.joules == pytest.approx(2000.0)
    assert window.dram.joules == pytest.approx(300.0)
    assert (window.cpu.source, window.cpu.sensor) == ("measured", "RAPL package")
    assert "cpu" not in window.missing
    assert "dram" not in window.missing


def test_sockets_that_others_use_are_nobodys_and_the_model_stands_in(server, monkeypatch):
    monkeypatch.setenv("PTPROF_SHARED_HOST", "another job runs here")
    with _meter(server) as meter:
        assert not meter.sees_idle
        with meter.window() as window:
            sum(range(10_000))
    assert window.cpu.source == "modelled"
    assert window.missing["dram"] == "another job runs here"


def test_each_socket_errs_on_its_own(server):
    with _meter(server) as meter, meter.window() as window:
        server.spend(1.0, intel_rapl_0=300.0, intel_rapl_1=400.0, intel_rapl_0_0=5.0, intel_rapl_1_0=5.0)
    first, second = window.cpu.gain_id.split("+")
    assert first.endswith("package-0")
    assert second.endswith("package-1")
    assert window.cpu.systematic == pytest.approx(0.1 * 500 / 700)
    assert set(window.dram.gain_id.split("+")).isdisjoint({first, second})


def test_a_count_goes_on_where_the_zones_begins_anew(folder):
    folder.zone("intel-rapl:0", "package-0", count_uj=65_500_000_000, range_uj=65_532_610_987)
    with _meter(folder) as meter, meter.window() as window:
        folder.spend(1.0, intel_rapl_0=100.0)
    assert window.cpu.joules == pytest.approx(100.0, rel=1e-6)
    assert int((folder.root / "intel-rapl:0" / "energy_uj").read_text()) < 100_000_000


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0.01, 50.0), st.floats(0.0, 900.0)), min_size=1, max_size=40))
def test_any_number_of_rounds_is_counted_if_each_is_seen(tmp_path_factory, kit, steps):
    """65 kJ last 65 s at the most that is plausible; what takes less than that is never missed."""
    folder = Folder(tmp_path_factory.mktemp("rapl"), kit.Clock())
    folder.zone("intel-rapl:0", "package-0", range_uj=65_532_610_987)
    zone = Zone(folder.root / "intel-rapl:0", "package-0")
    counter = RaplCounter(zone, "package-0", "cpu", folder.clock)
    for seconds, watts in steps:
        folder.spend(seconds, intel_rapl_0=watts)
        counter.read()
    expected = sum(seconds * watts for seconds, watts in steps)
    assert counter.read() == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_a_round_that_may_have_been_missed_is_no_figure(folder):
    folder.zone("intel-rapl:0", "package-0", range_uj=65_532_610_987)
    with _meter(folder) as meter, meter.window() as window:
        folder.spend(66.0, intel_rapl_0=100.0)
    assert window.cpu is None
    assert "was not read for 66 s: it may have gone round unseen" in window.missing["cpu"]


def test_a_reset_is_no_round(folder):
    folder.zone("intel-rapl:0", "package-0", count_uj=100_000_000_000)
    with _meter(folder) as meter, meter.window() as window:
        folder.counts["intel-rapl:0"] = (0, RANGE_UJ)
        folder.spend(5.0, intel_rapl_0=100.0)
    assert window.cpu is None
    assert "it was reset" in window.missing["cpu"]


def test_a_thread_reads_while_nobody_asks(folder):
    """However long a window is: four times in the shortest time that a round can take, here 10 µs."""
    folder.zone("intel-rapl:0", "package-0", range_uj=10_000)
    asked = threading.Event()

    class Clock:
        def now(self):
            if threading.current_thread().name == "rapl":
                asked.set()
            return 0.0

    with Rapl(folder.root, Clock()) as rapl:
        assert rapl.counters[0].round_s == pytest.approx(0.01 / MOST_WATTS)
        assert asked.wait(60)
    assert "rapl" not in {thread.name for thread in threading.enumerate()}


def test_a_socket_without_memory_has_no_sum_of_memory(folder):
    folder.zone("intel-rapl:0", "package-0")
    folder.zone("intel-rapl:0:0", "dram")
    folder.zone("intel-rapl:1", "package-1")
    with _meter(folder) as meter, meter.window() as window:
        folder.spend(1.0, intel_rapl_0=10.0, intel_rapl_1=10.0, intel_rapl_0_0=5.0)
    assert window.dram is None
    assert window.missing["dram"] == "RAPL has no count of the memory here"
    assert window.cpu.joules == pytest.approx(20.0)


def test_zones_inside_packages_are_found_too(folder):
    """As the device folder has them, and as AMD's packages are: the same names."""
    folder.zone("intel-rapl:0", "package-0")
    folder.zone("intel-rapl:0/intel-rapl:0:0", "dram")
    with _meter(folder) as meter, meter.window() as window:
        folder.spend(1.0, **{"intel_rapl_0": 10.0, "intel_rapl_0/intel_rapl_0_0": 3.0})
    assert (window.cpu.joules, window.dram.joules) == pytest.approx((10.0, 3.0))


def test_ten_sockets_are_in_the_order_of_their_numbers(folder):
    for socket in range(11):
        folder.zone(f"intel-rapl:{socket}", f"package-{socket}")
    with Rapl(folder.root, folder.clock) as rapl:
        assert [counter.device_id for counter in rapl.counters] == [f"package-{i}" for i in range(11)]


def test_a_package_that_is_listed_twice_counts_once(folder):
    folder.zone("intel-rapl:0", "package-0")
    folder.zone("intel-rapl:1", "package-0")
    with _meter(folder) as meter, meter.window() as window:
        folder.spend(1.0, intel_rapl_0=10.0, intel_rapl_1=10.0)
    assert window.cpu.joules == pytest.approx(10.0)


def test_nothing_is_said_and_the_model_stands_in(folder):
    with _meter(folder) as meter:
        assert not meter.sees_idle
        with meter.window() as window:
            sum(range(1_000_000))
    assert window.cpu.source == "modelled"
    assert window.missing["dram"] == "no RAPL here"


def test_zones_that_lead_nowhere_are_hidden_by_a_container(folder):
    (folder.root / "intel-rapl:0").symlink_to(folder.root / "masked")
    with Rapl(folder.root, folder.clock) as rapl:
        assert rapl.counters == ()
        assert "hidden from this container" in rapl.missing["cpu"]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("energy_uj", "many", "energy_uj cannot be read"),
        ("max_energy_range_uj", "0", "does not say where it begins anew"),
    ],
)
def test_what_is_no_number_is_no_figure(server, file, text, words):
    (server.root / "intel-rapl:1" / file).write_text(text)
    with Rapl(server.root, server.clock) as rapl:
        assert {counter.component for counter in rapl.counters} == {"dram"}
        assert words in rapl.missing["cpu"]


def test_a_counter_that_fails_stays_failed(folder):
    path = folder.zone("intel-rapl:0", "package-0")
    with _meter(folder) as meter:
        with meter.window() as window:
            (path / "energy_uj").unlink()
        assert "energy_uj cannot be read" in window.missing["cpu"]
        folder.spend(1.0, intel_rapl_0=10.0)
        with meter.window() as window:
            folder.spend(1.0, intel_rapl_0=10.0)
    assert window.cpu is None


AS_NOBODY = """
import json, os, sys
from pathlib import Path
from ptprof.energy import EnergyMeter
root = Path(sys.argv[1])
def measure(counts):
    with EnergyMeter(gpus=[], rapl_root=root) as meter, meter.window() as window:
        for path in root.glob("intel-rapl:*/energy_uj") if counts else ():
            path.write_text("6000000")
        sum(range(1_000_000))
    return {"cpu": window.cpu.source, "dram": window.dram and window.dram.joules, "missing": window.missing}
before = measure(counts=True)
for path in root.glob("intel-rapl:*/energy_uj"):
    path.chmod(0o400 if os.geteuid() == 0 else 0o000)
if os.geteuid() == 0:
    os.seteuid(65534)
print(json.dumps([before, measure(counts=False)]))
"""


def test_files_of_root_alone_are_a_reason_with_a_remedy(server, tmp_path_factory):
    """In a process of its own, which gives up root's powers where it has them: permission bits then bind."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if base.name.startswith("popen-") else base
    for path in (server.root, *server.root.parents):
        if path.is_relative_to(base) or path in (base, base.parent):
            path.chmod(0o755)
    command = [sys.executable, "-W", "error", "-c", AS_NOBODY, str(server.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert (before["cpu"], before["dram"], before["missing"].keys()) == ("measured", 2.0, {"gpu"})
    assert (after["cpu"], after["dram"]) == ("modelled", None)
    assert "only root may read it" in after["missing"]["dram"]
    assert f"sudo chmod a+r {server.root}/intel-rapl:*/energy_uj" in after["missing"]["dram"]


def test_processes_of_one_training_share_their_socket(server):
    """What every process of a training reads of a socket is the same joules, and counts once."""
    from ptprof.train.processes import Share, together

    with _meter(server) as one, _meter(server) as other, one.window() as first, other.window() as second:
        server.spend(2.0, intel_rapl_0=100.0, intel_rapl_1=50.0, intel_rapl_0_0=1.0, intel_rapl_1_0=1.0)
    shares = [Share(host="", duration_s=2.0, energy=w.breakdown()) for w in (first, second)]
    both = together(shares).energy
    assert both.cpu.joules == pytest.approx(300.0)
    assert total([first.breakdown(), first.breakdown()]).cpu.joules == pytest.approx(600.0)


def test_a_zone_says_what_cannot_be_read(tmp_path):
    with pytest.raises(EnergyError, match="energy_uj cannot be read"):
        Zone(tmp_path, "package-0").number("energy_uj")
