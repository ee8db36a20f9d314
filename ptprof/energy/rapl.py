"""RAPL: the energy counters of processors and their memory, as Linux's powercap shows them.

A folder of zones: ``intel-rapl:N`` is a package (a socket; AMD's are called so too), and the zone in it that
is named ``dram`` its memory, which the package's count does not hold. A count is of the whole socket, whoever
uses it. ``psys`` (the whole machine, packages included) and ``intel-rapl-mmio`` (the same packages by another
way) are left out: nothing is counted twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from ptprof.energy.clock import Clock, MonotonicClock
from ptprof.environment import SHARED_VARIABLE, host_id
from ptprof.errors import EnergyError
from ptprof.records import Component, Source

RAPL_ROOT = Path("/sys/class/powercap")
#: The environment's word for another folder: where a container has it mounted.
RAPL_VARIABLE = "PTPROF_RAPL_ROOT"

JOULES_PER_MICROJOULE = 1e-6
#: Relative half-widths (95 %) of a socket's gain. Neither vendor states one. Package counts of Intel since
#: Haswell follow the power at the plug closely (D. Hackenberg et al., IPDPSW 2015), those of AMD's Zen are a
#: model that does not see all of it (R. Schöne et al., CLUSTER 2021): 10 % is meant for both. DRAM counts
#: were found within 20 % (S. Desrochers, C. Paradis, V. Weaver, MEMSYS 2016).
PACKAGE_SYSTEMATIC = 0.1
DRAM_SYSTEMATIC = 0.2
#: No socket takes more (W): in what time a count can go round, and what is no count but a reset.
MOST_WATTS = 1000.0
#: How often (of that time) the counts are read, so that no round is missed.
READS_PER_ROUND = 4
#: A count moves about every millisecond: between two reads it may show so much (s) more than there was.
UPDATE_S = 0.1


@dataclass(frozen=True)
class Zone:
    """A folder of powercap, and what its name file says: ``package-0``, ``dram``."""

    path: Path
    name: str

    def number(self, file: str) -> int:
        """What one of its files holds; EnergyError where it cannot be read."""
        try:
            return int((self.path / file).read_text(encoding="ascii"))
        except PermissionError:
            raise EnergyError(
                "RAPL is here, but only root may read it (since CVE-2020-8694): run"
                f" `sudo chmod a+r {self.path.parent}/intel-rapl:*/energy_uj`, anew after each start"
            ) from None
        except (OSError, ValueError) as error:
            raise EnergyError(f"RAPL's {self.name}: {file} cannot be read: {error}") from None


@dataclass
class RaplCounter:
    """The count of one zone, going on where the zone's own begins anew at ``max_energy_range_uj``.

    ``socket`` is the package's name. A count that may have gone round unseen, or was reset, is an EnergyError
    from then on.
    """

    zone: Zone
    socket: str
    component: Component
    clock: Clock = field(repr=False)
    machine: str = ""

    source: Source = field(default="measured", init=False)
    ticks: bool = field(default=False, init=False)
    range_j: float = field(init=False)

    def __post_init__(self) -> None:
        self.range_j = self.zone.number("max_energy_range_uj") * JOULES_PER_MICROJOULE
        if not self.range_j > 0:
            raise EnergyError(f"RAPL's {self.zone.name} does not say where it begins anew")
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._shown_j, self._read_s, self._total_j = self._raw(), self.clock.now(), 0.0

    @property
    def name(self) -> str:
        return "RAPL package" if self.component == "cpu" else "RAPL DRAM"

    @property
    def device_id(self) -> str:
        return self.socket

    @property
    def gain_id(self) -> str:
        """The socket of this very machine: equal sockets of two machines do not err alike."""
        part = self.socket if self.component == "cpu" else f"{self.socket}-{self.component}"
        return f"rapl-{self.machine}-{part}"

    @property
    def systematic(self) -> float:
        return PACKAGE_SYSTEMATIC if self.component == "cpu" else DRAM_SYSTEMATIC

    @property
    def round_s(self) -> float:
        """The shortest time in which the zone's own count can go round."""
        return self.range_j / MOST_WATTS

    def read(self) -> float:
        with self._lock:
            if self._failure is None:
                try:
                    self._advance()
                except EnergyError as error:
                    self._failure = str(error)
            if self._failure is not None:
                raise EnergyError(self._failure)
            return self._total_j

    def _advance(self) -> None:
        shown_j, now = self._raw(), self.clock.now()
        elapsed_s = now - self._read_s
        taken_j = (shown_j - self._shown_j) % self.range_j
        what = f"the {self.name} of {self.socket}"
        if elapsed_s > self.round_s:
            raise EnergyError(f"{what} was not read for {elapsed_s:.0f} s: it may have gone round unseen")
        if taken_j > MOST_WATTS * (elapsed_s + UPDATE_S):
            raise EnergyError(f"{what} went from {self._shown_j:g} J to {shown_j:g} J: it was reset")
        self._shown_j, self._read_s = shown_j, now
        self._total_j += taken_j

    def _raw(self) -> float:
        return self.zone.number("energy_uj") * JOULES_PER_MICROJOULE


class Rapl:
    """The counters under ``root``, open while the context lasts: a thread reads them often enough meanwhile.

    Parameters
    ----------
    root : the folder of zones; that of PTPROF_RAPL_ROOT, or ``/sys/class/powercap``, where None
    clock : the monotonic one where None

    Attributes
    ----------
    counters : those of ``cpu`` (all packages) and of ``dram``; none of a component of which one is unreadable
    missing : why a component has none
    """

    counters: tuple[RaplCounter, ...]
    missing: dict[Component, str]

    def __init__(self, root: Path | None = None, clock: Clock | None = None) -> None:
        self._root = root or Path(os.environ.get(RAPL_VARIABLE) or RAPL_ROOT)
        self._clock = clock or MonotonicClock()
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.missing = {}
        # Whoever shares the machine with others has no sockets of its own.
        shared = os.environ.get(SHARED_VARIABLE)
        packages = [] if shared else _packages(self._root)
        if not packages:
            self.missing = dict.fromkeys(("cpu", "dram"), shared or _nothing(self._root))
        drams = [(package, zone) for package in packages for zone in _within(package) if zone.name == "dram"]
        if packages and len(drams) < len(packages):
            self.missing["dram"] = "RAPL has no count of the memory here"
        sockets = [(package, package) for package in packages]
        self.counters = (*self._open("cpu", sockets), *self._open("dram", drams))
        if self.counters:
            every_s = min(counter.round_s for counter in self.counters) / READS_PER_ROUND
            self._closed.clear()
            self._keeper = threading.Thread(target=self._keep, args=(every_s,), name="rapl", daemon=True)
            self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None

    def _open(self, component: Component, zones: Iterable[tuple[Zone, Zone]]) -> list[RaplCounter]:
        """The counters of a component, all or none: a part is not the whole."""
        if component in self.missing:
            return []
        machine = host_id()
        try:
            return [
                RaplCounter(zone, package.name, component, self._clock, machine) for package, zone in zones
            ]
        except EnergyError as error:
            self.missing[component] = str(error)
            return []

    def _keep(self, every_s: float) -> None:
        """Read all counters now and then, so that no round of theirs is missed, however long a window is."""
        while not self._closed.wait(every_s):
            for counter in self.counters:
                try:
                    counter.read()
                except EnergyError:
                    continue  # the counter has kept it for whoever reads it


def _packages(root: Path) -> list[Zone]:
    """The packages under ``root``, in the order of their numbers, each once."""
    found: dict[str, Zone] = {}
    folders = [path for path in root.glob("intel-rapl:*") if path.name.count(":") == 1]
    for path in sorted(folders, key=_numbers):
        name = _name(path)
        if name is not None and name.startswith("package"):
            found.setdefault(name, Zone(path, name))
    return list(found.values())


def _within(package: Zone) -> list[Zone]:
    """The zones in a package: beside it, as the class folder lists them, and inside it otherwise."""
    pattern = f"{package.path.name}:*"
    folders = sorted(package.path.parent.glob(pattern)) or sorted(package.path.glob(pattern))
    return [Zone(path, name) for path in folders if (name := _name(path)) is not None]


def _name(path: Path) -> str | None:
    try:
        return (path / "name").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _numbers(path: Path) -> list[int]:
    return [int(part) for part in path.name.split(":")[1:] if part.isdigit()]


def _nothing(root: Path) -> str:
    if any(root.glob("intel-rapl:*")):
        return (
            "RAPL is hidden from this container: mount the machine's /sys/devices/virtual/powercap/intel-rapl"
            f" and name the place in {RAPL_VARIABLE}"
        )
    return "no RAPL here"
