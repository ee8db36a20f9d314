"""Joules shared among batches, on a clock and counters of the test's own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.errors import EnergyError, UsageError
from ptprof.serve.ledger import Ledger, Spent, open_ledger
from ptprof.serve.price import Price


@dataclass
class Machine:
    """A clock, and a sensor that counts ``watts`` at every moment, shown in ticks where it ticks."""

    watts: float = 10.0
    tick_s: float = 0.0
    now_s: float = 0.0
    joules: float = 0.0
    broken: bool = False

    component: Any = "cpu"
    device_id: str = "board"
    name: str = "a counter"
    source: Any = "measured"
    systematic: float = 0.05
    gain_id: str = "board"

    @property
    def ticks(self) -> bool:
        return self.tick_s > 0

    def clock(self) -> float:
        return self.now_s

    def read(self) -> float:
        if self.broken:
            raise EnergyError("the board has gone")
        if not self.tick_s:
            return self.joules
        return self.joules // (self.watts * self.tick_s) * (self.watts * self.tick_s)

    def pass_(self, seconds: float) -> None:
        self.now_s += seconds
        self.joules += seconds * self.watts


def ledger(machine: Machine) -> Ledger:
    return Ledger([machine], {"gpu": "none here"}, clock=machine.clock)


def test_two_that_run_at_once_share_and_idle_time_is_nobodys() -> None:
    machine = Machine()
    book = ledger(machine)
    machine.pass_(5)
    first = book.begin()
    machine.pass_(1)
    second = book.begin()
    machine.pass_(2)
    book.end(first)
    machine.pass_(3)
    book.end(second)
    machine.pass_(7)
    assert first.joules == {0: pytest.approx(10 + 10)}
    assert second.joules == {0: pytest.approx(10 + 30)}
    energy = book.energy(first)
    assert energy.cpu is not None
    assert energy.cpu.joules == pytest.approx(20)
    assert energy.cpu.high == pytest.approx(21)
    assert energy.missing == {"gpu": "none here"}


@given(st.lists(st.tuples(st.floats(0.001, 2), st.booleans()), min_size=1, max_size=40))
def test_nothing_is_counted_twice_or_lost(events: list[tuple[float, bool]]) -> None:
    machine = Machine()
    book = ledger(machine)
    running: list[Spent] = []
    ended: list[Spent] = []
    busy_s = 0.0
    for seconds, begins in events:
        if begins or not running:
            running.append(book.begin())
        else:
            account = running.pop(0)
            book.end(account)
            ended.append(account)
        machine.pass_(seconds)
        busy_s += seconds if running else 0
    for account in running:
        book.end(account)
    assert sum(a.joules[0] for a in ended + running) == pytest.approx(busy_s * machine.watts)


def test_a_counter_that_ticks_gives_power_once_a_second_of_it_is_known() -> None:
    """A batch of 20 ms, in which the counter hardly ever moves, gets its time's share of the power."""
    machine = Machine(watts=300, tick_s=0.1, component="gpu")
    book = Ledger([machine], clock=machine.clock)
    figures = []
    for _ in range(100):
        account = book.begin()
        machine.pass_(0.02)
        book.end(account)
        figures.append(book.energy(account))
    early, late = figures[10], figures[-1]
    assert early.gpu is None
    assert early.missing["gpu"] == "the power of board is not known yet"
    assert late.gpu is not None
    assert late.gpu.joules == pytest.approx(6, rel=0.1)
    assert late.gpu.low <= 6 <= late.gpu.high


def test_a_sensor_that_fails_is_missing_and_says_why() -> None:
    machine = Machine()
    book = ledger(machine)
    account = book.begin()
    machine.pass_(1)
    machine.broken = True
    book.end(account)
    energy = book.energy(account)
    assert energy.cpu is None
    assert energy.missing["cpu"] == "the board has gone"
    cost = Price().cost(energy, "cpu")
    assert (cost.energy_j, cost.headers()) == (None, {})
    assert cost.parameters() == {"energy_missing": "the board has gone"}


def test_a_rollout_gathers_the_shares_of_its_steps() -> None:
    machine = Machine()
    book = ledger(machine)
    task = Spent()
    for share in (1.0, 0.5, 0.25):
        account = book.begin()
        machine.pass_(2)
        book.end(account)
        task.add(account, share)
    energy = book.energy(task)
    assert energy.cpu is not None
    assert energy.cpu.joules == pytest.approx(20 * 1.75)


def test_grams_by_hand() -> None:
    """A kilowatt-hour at 445 g/kWh, in a site that takes a fifth more."""
    machine = Machine(watts=3.6e6)
    book = ledger(machine)
    account = book.begin()
    machine.pass_(1)
    book.end(account)
    cost = Price(445, 1.2).cost(book.energy(account), "cpu")
    assert cost.co2eq_g == pytest.approx(534)
    assert cost.headers() == {
        "ptprof-energy-j": "3.6e+06",
        "ptprof-co2eq-g": "534",
        "ptprof-energy-source": "measured; cpu",
    }
    # On a GPU whose own energy is not known, the host's is not the cost.
    assert Price().cost(book.energy(account), "cuda:0").missing == "none here"


@pytest.mark.parametrize(
    ("intensity", "pue"), [(0, 1), (-1, 1), (445, 0.9), (float("nan"), 1), (445, float("inf"))]
)
def test_prices_that_cannot_be(intensity: float, pue: float) -> None:
    with pytest.raises(UsageError):
        Price(intensity, pue)


def test_this_machines_own_cpu_is_modelled() -> None:
    with open_ledger("cpu", 6.0) as book:
        account = book.begin()
        sum(range(200_000))
        book.end(account)
        energy = book.energy(account)
    assert energy.cpu is not None
    assert energy.cpu.source == "modelled"
    assert energy.missing["gpu"] == "no GPU computes"


def test_rapl_is_shared_where_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for file, text in (("name", "package-0"), ("max_energy_range_uj", "9" * 12), ("energy_uj", "5")):
        (zone / file).write_text(text)
    monkeypatch.setenv("PTPROF_RAPL_ROOT", str(tmp_path))
    with open_ledger("cpu", 6.0) as book:
        account = book.begin()
        (zone / "energy_uj").write_text("3000005")
        book.end(account)
        energy = book.energy(account)
    assert energy.cpu is not None
    assert (energy.cpu.source, energy.cpu.joules) == ("measured", pytest.approx(3.0))
    assert energy.missing["dram"] == "RAPL has no count of the memory here"


@pytest.mark.gpu
def test_a_gpus_share_is_measured() -> None:
    torch = pytest.importorskip("torch")
    values = torch.randn(4096, 4096, device="cuda:0")
    with open_ledger("cuda:0", 6.0) as book:
        begun = time.monotonic()
        while time.monotonic() - begun < 2:
            account = book.begin()
            at = time.monotonic()
            for _ in range(50):
                values @ values
            torch.cuda.synchronize()
            book.end(account)
            seconds = time.monotonic() - at
        energy = book.energy(account)
    assert energy.gpu is not None
    assert energy.gpu.source == "measured"
    assert 30 < energy.gpu.joules / seconds < 2000
    assert Price().cost(energy, "cuda:0").components == ("gpu", "cpu")
