"""The meter: finds the sensors, learns their ticks, and opens windows over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ptprof.energy.board import BoardState
from ptprof.energy.clock import Clock, MonotonicClock
from ptprof.energy.counter import Counter
from ptprof.energy.cpu import CPU_WATTS_PER_CORE, CpuModel
from ptprof.energy.gauge import tick_period
from ptprof.energy.gpus import gpu_sensors
from ptprof.energy.host import host_sensors
from ptprof.energy.own import own_counters
from ptprof.energy.sensor import BoardSensor, Sensor
from ptprof.energy.visible import GpuName, synchronize
from ptprof.energy.window import NOT_COUNTED, Window
from ptprof.errors import EnergyError
from ptprof.records import COMPONENTS, BoardFacts, PluginSource


class EnergyMeter:
    """Meters the energy of what runs in its windows, which may overlap.

        with EnergyMeter(gpus=[0]) as meter, meter.window() as window:
            work()

    GPUs are measured by NVML's energy counter, processors and memory by RAPL: whole boards and sockets,
    whoever uses them. Where RAPL cannot be read the CPU is modelled from this process's CPU seconds. What the
    sensor of a plugin counts is counted by that alone. What cannot be had is None in the window, with the
    reason in ``missing``.

    Parameters
    ----------
    gpus : visible indices, as torch counts them, or UUIDs, or the ids of a plugin's; None for all that are
        visible, [] for none
    sensors : to be read instead of this machine's
    clock : to be read instead of the monotonic one
    watts_per_core : for the model of the CPU, W
    rapl_root : the folder of RAPL's zones; see `ptprof.energy.rapl.Rapl`

    Raises
    ------
    EnergyError : on entering, a GPU that is asked for and is not there, or a plugin's sensor that fails
    UsageError : watts per core that are not above zero; on entering, a plugin that cannot be imported
    """

    def __init__(
        self,
        gpus: Sequence[GpuName] | None = None,
        *,
        sensors: Sequence[Sensor] | None = None,
        clock: Clock | None = None,
        watts_per_core: float = CPU_WATTS_PER_CORE,
        rapl_root: Path | None = None,
    ) -> None:
        self._gpus = gpus
        self._given = sensors
        self._clock = clock or MonotonicClock()
        self._watts_per_core = CpuModel(watts_per_core).watts_per_core
        self._rapl_root = rapl_root
        self._sensors: list[tuple[Sensor, float]] | None = None
        self._missing: dict[str, str] = {}
        self._settle: Callable[[], None] = lambda: None
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._missing = {}
            sensors = list(self._given) if self._given is not None else self._here(stack)
            self._sensors = [known for sensor in sensors if (known := self._timed(sensor)) is not None]
            for component in COMPONENTS:
                if not any(sensor.component == component for sensor in sensors):
                    self._missing.setdefault(component, NOT_COUNTED)
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

    @property
    def sees_idle(self) -> bool:
        """Whether a sensor sees the power of a machine without work, which the model of the CPU does not."""
        return any(sensor.source == "measured" for sensor, _ in self._open())

    @property
    def boards(self) -> tuple[str, ...]:
        """The UUIDs of the boards that are metered."""
        return tuple(sensor.device_id for sensor, _ in self._open() if sensor.component == "gpu")

    @property
    def plugins(self) -> tuple[PluginSource, ...]:
        """The plugins whose sensors are read."""
        sources = [sensor.plugin for sensor, _ in self._open() if isinstance(sensor, Counter)]
        return tuple(dict.fromkeys(source for source in sources if source is not None))

    def board_states(self) -> dict[str, BoardState]:
        """The metered boards at this moment, by UUID; without those that tell nothing but energy."""
        return {sensor.device_id: sensor.state() for sensor in self._board_sensors()}

    def board_facts(self) -> tuple[BoardFacts, ...]:
        """What these boards are, and what they are set to."""
        return tuple(sensor.facts() for sensor in self._board_sensors())

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

    def _board_sensors(self) -> list[BoardSensor]:
        return [sensor for sensor, _ in self._open() if isinstance(sensor, BoardSensor)]

    def _here(self, stack: ExitStack) -> list[Sensor]:
        """The sensors of this machine."""
        own = own_counters()
        host, without = host_sensors(
            stack, watts_per_core=self._watts_per_core, rapl_root=self._rapl_root, clock=self._clock, own=own
        )
        gpus = gpu_sensors(stack, self._gpus, own)
        if "dram" in without:
            self._missing["dram"] = without["dram"]
        if gpus.missing is not None:
            self._missing["gpu"] = gpus.missing
        if gpus.ids:
            self._settle = lambda: synchronize(gpus.ids)
        return [*gpus.sensors, *host]

    def _timed(self, sensor: Sensor) -> tuple[Sensor, float] | None:
        """The sensor with its tick's period; None where it fails at once."""
        try:
            return sensor, tick_period(sensor, self._clock) if sensor.ticks else 0.0
        except EnergyError as error:
            self._missing.setdefault(sensor.component, str(error))
            return None
