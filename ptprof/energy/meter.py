"""The meter: finds the sensors, learns their ticks, and opens windows over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from ptprof.energy.clock import Clock, MonotonicClock
from ptprof.energy.cpu import CPU_WATTS_PER_CORE, CpuModel
from ptprof.energy.gauge import tick_period
from ptprof.energy.nvml import Nvml
from ptprof.energy.sensor import Sensor
from ptprof.energy.visible import GpuName, chosen, synchronize
from ptprof.energy.window import Window
from ptprof.errors import EnergyError

NO_DRAM = "no DRAM sensor"


class EnergyMeter:
    """Meters the energy of what runs in its windows, which may overlap.

        with EnergyMeter(gpus=[0]) as meter, meter.window() as window:
            work()

    GPUs are measured by NVML's energy counter, the whole board whoever uses it; the CPU is modelled from
    this process's CPU seconds. What cannot be had is None in the window, with the reason in ``missing``.

    Parameters
    ----------
    gpus : visible indices, as torch counts them, or UUIDs; None for all that are visible, [] for none
    sensors : to be read instead of this machine's
    clock : to be read instead of the monotonic one
    watts_per_core : for the model of the CPU, W

    Raises
    ------
    EnergyError : on entering, a GPU that is asked for and is not there
    UsageError : watts per core that are not above zero
    """

    def __init__(
        self,
        gpus: Sequence[GpuName] | None = None,
        *,
        sensors: Sequence[Sensor] | None = None,
        clock: Clock | None = None,
        watts_per_core: float = CPU_WATTS_PER_CORE,
    ) -> None:
        self._gpus = gpus
        self._given = sensors
        self._clock = clock or MonotonicClock()
        self._cpu = CpuModel(watts_per_core)
        self._sensors: list[tuple[Sensor, float]] | None = None
        self._missing: dict[str, str] = {}
        self._settle: Callable[[], None] = lambda: None
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._missing = {}
            sensors = list(self._given) if self._given is not None else self._here(stack)
            self._sensors = [known for sensor in sensors if (known := self._timed(sensor)) is not None]
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sensors = None
        self._exit.close()

    @property
    def missing(self) -> dict[str, str]:
        """Why a component will have no figure, as far as that is known before a window."""
        return dict(self._missing)

    @property
    def tick_s(self) -> float:
        """The longest tick of the sensors (s); 0 where none ticks."""
        return max((period_s for _, period_s in self._open()), default=0.0)

    @contextmanager
    def window(self) -> Iterator[Window]:
        """Meter the block; the window's results are there when it has ended without an error.

        What was given to a GPU before the block is waited for first, and what the block gave it at its end.
        """
        sensors = self._open()
        self._settle()
        window = Window(sensors, self._missing, self._clock)
        yield window
        self._settle()
        window.close()

    def _open(self) -> list[tuple[Sensor, float]]:
        if self._sensors is None:
            raise EnergyError("the meter is not open: enter it with `with EnergyMeter() as meter`")
        return self._sensors

    def _here(self, stack: ExitStack) -> list[Sensor]:
        """The sensors of this machine."""
        self._missing["dram"] = NO_DRAM
        return [*self._boards(stack), self._cpu]

    def _boards(self, stack: ExitStack) -> list[Sensor]:
        if self._gpus is not None and not self._gpus:
            self._missing["gpu"] = "no GPU was to be metered"
            return []
        try:
            nvml = stack.enter_context(Nvml())
            there = nvml.boards()
        except EnergyError as error:
            self._missing["gpu"] = str(error)
            return []
        boards = chosen(there, self._gpus)
        if not boards:
            self._missing["gpu"] = "no GPU is visible"
        for board in boards:
            if board.unusable is not None:
                self._missing.setdefault("gpu", board.unusable)
        uuids = [board.uuid for board in boards]
        self._settle = lambda: synchronize(uuids)
        return [nvml.counter(board) for board in boards if board.unusable is None]

    def _timed(self, sensor: Sensor) -> tuple[Sensor, float] | None:
        """The sensor with its tick's period; None where it fails at once."""
        try:
            return sensor, tick_period(sensor, self._clock) if sensor.ticks else 0.0
        except EnergyError as error:
            self._missing.setdefault(sensor.component, str(error))
            return None
