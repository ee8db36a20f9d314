"""Candidates that take turns on a bench, until the rule of each is finished."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from ptprof.errors import PtprofError
from ptprof.profile.bench import Bench, Prepared
from ptprof.profile.protocol import MeasuringProtocol, StopRule
from ptprof.profile.summary import Subject, summarise
from ptprof.profile.worker import WorkerDied
from ptprof.records import EnergyBreakdown, Measurement, Window


class Series:
    """One candidate in a session: its windows so far, and the rule that ends them."""

    def __init__(self, subject: Subject, stop: StopRule) -> None:
        self.subject = subject
        self.stop = stop
        self.stop.initialize()
        self.prepared: Prepared | None = None
        self.windows: list[Window] = []


class Session:
    """Several candidates, measured in rounds: what disturbs the machine for a while disturbs them all.

    A session outlives its bench: where a candidate takes it down, the others go on where they were on the
    next one.

    Parameters
    ----------
    emit : takes each candidate with its measurement, as soon as that is finished
    step : told of every window, and of windows that will not be
    rng : draws the order of each round, and the gaps between windows
    sleep : waits so many seconds
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        protocol: MeasuringProtocol,
        *,
        emit: Callable[[Subject, Measurement], None],
        step: Callable[[int], None] = lambda windows: None,
        rng: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._protocol = protocol
        self._emit = emit
        self._step = step
        self._rng = rng or random.Random(0)
        self._sleep = sleep
        self._idle: list[tuple[float, EnergyBreakdown]] = []
        self._turn: Series | None = None
        self.waiting = [Series(subject, protocol.stop()) for subject in subjects]
        self.failures: list[tuple[Subject, str]] = []

    def run(self, bench: Bench) -> None:
        """Measure until no candidate waits.

        Raises
        ------
        WorkerDied : the bench is gone. The candidate whose turn it was has failed, and the others wait; all
            have failed where it was nobody's turn.
        """
        try:
            for series in self._drawn():
                self._attempt(series, self._prepare, bench)
            while self.waiting:
                self._round(bench)
        except WorkerDied as death:
            self.give_up(str(death), [self._turn] if self._turn is not None else self.waiting)
            raise
        finally:
            self._turn = None

    def give_up(self, why: str, series: Sequence[Series] | None = None) -> None:
        """Let candidates fail; all that wait where none are named."""
        for one in list(self.waiting if series is None else series):
            self.waiting.remove(one)
            self.failures.append((one.subject, why))
            self._step(max(self._protocol.windows - len(one.windows), 0))

    def _prepare(self, series: Series, bench: Bench) -> None:
        subject = series.subject
        series.prepared = bench.prepare(subject.run, subject.scenario)
        bench.warm_up(subject.run, subject.scenario, self._protocol.warm_up_s)

    def _round(self, bench: Bench) -> None:
        if bench.info.measures_idle:
            self._idle.append(bench.idle(self._protocol.window_s))
        for series in self._drawn():
            self._sleep(self._rng.uniform(0.0, self._protocol.gap_s))
            self._attempt(series, self._measure, bench)

    def _measure(self, series: Series, bench: Bench) -> None:
        subject = series.subject
        window = bench.window(subject.run, subject.scenario, self._protocol)
        series.windows.append(window)
        series.stop.add_measurement(window)
        self._step(1)
        if series.stop.is_finished() and series.prepared is not None:
            self.waiting.remove(series)
            measurement = summarise(
                subject, self._protocol, series.prepared, bench.info, series.windows, self._idle
            )
            self._emit(subject, measurement)

    def _attempt(self, series: Series, action: Callable[[Series, Bench], None], bench: Bench) -> None:
        """Do something for one candidate, whose failure is its own."""
        self._turn = series
        try:
            action(series, bench)
        except WorkerDied:
            raise
        except PtprofError as error:
            self.give_up(str(error), [series])
        self._turn = None

    def _drawn(self) -> list[Series]:
        """Those that wait, in an order drawn anew."""
        return self._rng.sample(self.waiting, len(self.waiting))
