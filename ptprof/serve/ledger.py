"""What the machine's joules were spent for: shares of the sensors' counts for the batches that ran."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch

from ptprof.energy import Sensor, add, combine
from ptprof.energy.gpus import gpu_sensors
from ptprof.energy.host import host_sensors
from ptprof.energy.own import own_counters
from ptprof.errors import EnergyError
from ptprof.records import COMPONENTS, Component, Energy, EnergyBreakdown

#: A counter that ticks every tenth of a second is read so long (s) before its power is told: to 10 %.
KNOWN_AFTER_S = 1.0
TICK_S = 0.1
#: Of the busy time behind a power, half is forgotten where it is more (s): power follows the load.
MEMORY_S = 5.0


@dataclass
class Spent:
    """Joules by sensor, in the ledger's order; a sensor whose share is not known is in ``unknown``."""

    joules: dict[int, float] = field(default_factory=dict)
    unknown: dict[int, str] = field(default_factory=dict)

    def add(self, other: Spent, share: float = 1.0) -> None:
        """Take ``share`` of ``other`` in."""
        for index, joules in other.joules.items():
            self.joules[index] = self.joules.get(index, 0.0) + share * joules
        self.unknown.update(other.unknown)


class Ledger:
    """Shares what the sensors count among the batches that run, so that nothing is counted twice.

    A count that grows smoothly is shared at every moment equally among the batches that run then. A GPU's
    counter moves every tenth of a second or so, too coarse for one batch: a batch gets its time × the board's
    mean power while busy, once a second of that is known. What is spent while nothing runs is nobody's.

    Parameters
    ----------
    sensors : see `ptprof.energy.Sensor`
    missing : why a component has no sensor
    clock : seconds
    """

    def __init__(
        self,
        sensors: Sequence[Sensor] = (),
        missing: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._missing = dict(missing or {})
        self._clock = clock
        self._gauges = [_Gauge(sensor) for sensor in sensors]
        self._running: list[Spent] = []
        self._seconds: dict[int, float] = {}
        self._last_s = 0.0
        self._lock = threading.Lock()

    def begin(self) -> Spent:
        """A batch begins; what it spends gathers in what is returned."""
        with self._lock:
            self._share()
            account = Spent()
            self._running.append(account)
            self._seconds[id(account)] = 0.0
            return account

    def end(self, account: Spent) -> None:
        """The batch of ``account`` has ended."""
        with self._lock:
            self._share()
            self._running = [running for running in self._running if running is not account]
            seconds = self._seconds.pop(id(account))
            for index, gauge in enumerate(self._gauges):
                if gauge.failure is not None:
                    account.joules.pop(index, None)
                    account.unknown[index] = gauge.failure
                elif gauge.sensor.ticks and gauge.power_w is None:
                    account.unknown[index] = f"the power of {gauge.sensor.device_id} is not known yet"
                elif gauge.sensor.ticks:
                    account.joules[index] = seconds * (gauge.power_w or 0.0)

    def energy(self, spent: Spent) -> EnergyBreakdown:
        """Joules as figures: with their interval, their source, and why a component has none."""
        figures: dict[Component, list[Energy]] = {}
        missing = dict(self._missing)
        for index, gauge in enumerate(self._gauges):
            component = gauge.sensor.component
            if index in spent.unknown or index not in spent.joules:
                missing[component] = spent.unknown.get(index, "nothing was computed")
            else:
                figures.setdefault(component, []).append(gauge.figure(spent.joules[index]))
        present = {c: add(parts) for c in COMPONENTS if c not in missing and (parts := figures.get(c))}
        return EnergyBreakdown(
            gpu=present.get("gpu"), cpu=present.get("cpu"), dram=present.get("dram"), missing=missing
        )

    def _share(self) -> None:
        """Share what was counted since the last call among those that ran."""
        now = self._clock()
        elapsed = now - self._last_s
        self._last_s = now
        for index, gauge in enumerate(self._gauges):
            joules = gauge.advance(elapsed, busy=bool(self._running))
            for account in self._running:
                if not gauge.sensor.ticks:
                    account.joules[index] = account.joules.get(index, 0.0) + joules / len(self._running)
        for account in self._running:
            self._seconds[id(account)] += elapsed / len(self._running)


class _Gauge:
    """A sensor, and for one that ticks its mean power while busy."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self.failure: str | None = None
        self._count: float | None = None
        self._busy_j = self._busy_s = 0.0

    def advance(self, elapsed_s: float, busy: bool) -> float:
        """The joules since the last call; 0 where the sensor has failed, which is for good."""
        if self.failure is not None:
            return 0.0
        try:
            count = self.sensor.read()
        except EnergyError as error:
            self.failure = str(error)
            return 0.0
        joules = 0.0 if self._count is None else count - self._count
        self._count = count
        if joules < 0:
            self.failure = f"the {self.sensor.name} went backwards"
            return 0.0
        if busy:
            self._busy_j, self._busy_s = self._busy_j + joules, self._busy_s + elapsed_s
            if self._busy_s > MEMORY_S:
                self._busy_j, self._busy_s = self._busy_j / 2, self._busy_s / 2
        return joules

    @property
    def power_w(self) -> float | None:
        """The mean power while busy; None where it is not known yet."""
        return self._busy_j / self._busy_s if self._busy_s >= KNOWN_AFTER_S else None

    def figure(self, joules: float) -> Energy:
        sensor = self.sensor
        return combine.energy(
            joules,
            joules * TICK_S / self._busy_s if sensor.ticks else 0.0,
            systematic=sensor.systematic,
            gain_id=sensor.gain_id,
            source=sensor.source,
            sensor=sensor.name,
        )


@contextmanager
def open_ledger(device: str, watts_per_core: float, shared: str | None = None) -> Iterator[Ledger]:
    """A ledger of this machine for models on ``device``: RAPL or a model of the CPU, a GPU's counter.

    ``shared`` says whose the GPU is besides, which makes its count nobody's; None: this server's alone.
    """
    with ExitStack() as stack:
        own = own_counters()
        sensors, lacking = host_sensors(stack, watts_per_core=watts_per_core, own=own)
        missing: dict[str, str] = {c: why for c, why in lacking.items() if c == "dram"}
        if device == "cpu":
            missing["gpu"] = "no GPU computes"
        elif shared is not None:
            missing["gpu"] = shared
        else:
            try:
                gpus = gpu_sensors(stack, [torch.device(device).index or 0], own)
                sensors += gpus.sensors
                missing |= {} if gpus.missing is None else {"gpu": gpus.missing}
            except EnergyError as error:
                missing["gpu"] = str(error)
        yield Ledger(sensors, missing)
