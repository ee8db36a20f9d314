"""A window over several sensors: opens and closes a gauge for each, and sums them by component."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

from ptprof.energy import combine
from ptprof.energy.clock import Clock
from ptprof.energy.gauge import LOOK_EVERY_S, SmoothGauge, SteppedGauge
from ptprof.energy.sensor import Sensor
from ptprof.errors import EnergyError
from ptprof.records import COMPONENTS, Component, Energy, EnergyBreakdown

RESULTS = ("duration_s", "gpu", "gpus", "cpu", "dram", "missing")

NOT_COUNTED = "no sensor counts it"

G = TypeVar("G", SmoothGauge, SteppedGauge)


class Window:
    """Energy over a stretch of time; `EnergyMeter.window` opens and closes it.

    Opening waits for the next tick of each counter, and closing for the first one after the block, unless
    `ticked` has just said True: up to a tick each.

    Parameters
    ----------
    sensors : each with its tick's period (s), 0 for a sensor that does not tick
    missing : why a component has no sensor, or not all of them

    Attributes
    ----------
    duration_s : how long the block took, the waits for ticks left out
    gpu, cpu, dram : the energy of each, or None; ``gpu`` is the sum over the boards
    gpus : the energy of each board that has one, by UUID
    missing : why a component is None

    The attributes are there when the block has ended; before, reading them raises EnergyError.
    """

    duration_s: float
    gpu: Energy | None
    gpus: dict[str, Energy]
    cpu: Energy | None
    dram: Energy | None
    missing: dict[str, str]

    def __init__(
        self, sensors: Sequence[tuple[Sensor, float]], missing: Mapping[str, str], clock: Clock
    ) -> None:
        self._clock = clock
        self._missing = dict(missing)
        self._stepped: list[SteppedGauge] = []
        self._smooth = [SmoothGauge(sensor) for sensor, period_s in sensors if not period_s]
        for sensor, period_s in sensors:
            if period_s:
                self._open(sensor, period_s)
        self._wait_until(lambda gauge: gauge.aligned)
        self._begun_s = clock.now()
        self._stepped = [g for g in self._stepped if self._do(g, lambda g: g.begin(self._begun_s))]
        self._smooth = [g for g in self._smooth if self._do(g, lambda g: g.begin(self._begun_s))]

    def ticked(self) -> bool:
        """Whether a counter has moved just now: a good moment to end the window, its edge on the tick.

        Ask often: a tick is seen well where the last question is less than a quarter of a tick ago. Always
        True where no sensor ticks.
        """
        if not self._stepped:
            return True
        moved: list[SteppedGauge] = []
        self._stepped = [g for g in self._stepped if self._do(g, lambda g: moved.extend([g] * g.look()))]
        return bool(moved) or not self._stepped

    def so_far(self) -> tuple[float, EnergyBreakdown]:
        """Seconds and energies up to now, while the window is open; may be asked from another thread.

        Nothing waits for a tick: a counter that ticks may be behind by one.
        """
        figures: dict[Component, list[Energy]] = {component: [] for component in COMPONENTS}
        missing = dict(self._missing)
        gauges: list[SteppedGauge | SmoothGauge] = [*self._stepped, *self._smooth]
        for gauge in gauges:
            try:
                figures[gauge.sensor.component].append(gauge.so_far())
            except EnergyError as error:
                missing.setdefault(gauge.sensor.component, str(error))
        known = {c: combine.add(parts) for c, parts in figures.items() if parts and c not in missing}
        return self._clock.now() - self._begun_s, EnergyBreakdown(**known, missing=missing)

    def breakdown(self) -> EnergyBreakdown:
        """The energies by component, as a record."""
        return EnergyBreakdown(gpu=self.gpu, cpu=self.cpu, dram=self.dram, missing=self.missing)

    def close(self) -> None:
        """End the window now, wait until its energy is known, and set the results."""
        end = self._clock.now()
        self._smooth = [g for g in self._smooth if self._do(g, lambda g: g.end(end))]
        self._stepped = [g for g in self._stepped if self._do(g, lambda g: g.end(end))]
        self._wait_until(lambda gauge: gauge.settled)
        figures: dict[Component, list[Energy]] = {component: [] for component in COMPONENTS}
        self.gpus = {}
        gauges: list[SteppedGauge | SmoothGauge] = [*self._stepped, *self._smooth]
        for gauge in gauges:
            figure = gauge.energy()
            figures[gauge.sensor.component].append(figure)
            if gauge.sensor.component == "gpu":
                self.gpus[gauge.sensor.device_id] = figure
        self.duration_s = end - self._begun_s
        self.gpu, self.cpu, self.dram = (self._sum(c, figures[c]) for c in COMPONENTS)
        self.missing = self._missing

    def _sum(self, component: Component, figures: Sequence[Energy]) -> Energy | None:
        """The component's energy; None where one of its sensors has failed: a part is not the whole."""
        if component in self._missing or not figures:
            self._missing.setdefault(component, NOT_COUNTED)
            return None
        return combine.add(figures)

    def _open(self, sensor: Sensor, period_s: float) -> None:
        try:
            self._stepped.append(SteppedGauge(sensor, period_s, self._clock))
        except EnergyError as error:
            self._missing.setdefault(sensor.component, str(error))

    def _wait_until(self, ready: Callable[[SteppedGauge], bool]) -> None:
        """Look at the counters until all are ready; one that fails is given up."""
        while not all(map(ready, self._stepped)):
            self._clock.sleep(LOOK_EVERY_S)
            self._stepped = [g for g in self._stepped if self._do(g, lambda g: g.look())]

    def _do(self, gauge: G, action: Callable[[G], object]) -> bool:
        """Whether the gauge did it; where not, its component is missing and says why."""
        try:
            action(gauge)
        except EnergyError as error:
            self._missing.setdefault(gauge.sensor.component, str(error))
            return False
        return True

    def __getattr__(self, name: str) -> NoReturn:
        if name in RESULTS:
            raise EnergyError("this window is still open: its energy is known when its block has ended")
        raise AttributeError(f"a window has no attribute {name!r}")
