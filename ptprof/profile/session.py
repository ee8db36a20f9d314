"""Candidates that take turns on a bench, until the rule of each is finished."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from ptprof.errors import PtprofError, RuntimeUnavailable
from ptprof.profile import disturbances
from ptprof.profile.bench import Bench, Prepared
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.stopping import StopRule
from ptprof.profile.summary import Subject, summarise
from ptprof.profile.worker import WorkerDied
from ptprof.records import Idle, Measurement, Window


class Series:
    """One candidate in a session: its windows so far, and the rule that ends them."""

    def __init__(self, subject: Subject, stop: StopRule) -> None:
        self.subject = subject
        self.stop = stop
        self.stop.initialize()
        self.prepared: Prepared | None = None
        self.windows: list[Window] = []

    def add(self, window: Window, process: int, *, strict: bool) -> None:
        """Take the next window; a strict protocol does not count one that was disturbed."""
        flags = (*window.flags, *disturbances.clock_flags(window, self.windows))
        counts = not (strict and disturbances.disturbed(flags))
        window = window.model_copy(update={"flags": flags, "counts": counts, "process": process})
        self.windows.append(window)
        self.stop.add_measurement(window)


class Session:
    """Several candidates, measured in rounds: what disturbs the machine for a while disturbs them all.

    A session outlives its bench: a protocol may ask for another one after some rounds, and where a candidate
    takes a bench down, the others go on where they were on the next one.

    Parameters
    ----------
    emit : takes each candidate with its measurement, when that is finished
    step : told of every window, and of windows that will not be
    extend : told of windows beyond the protocol's least
    rng : draws the order of each round, and the gaps between windows
    sleep : waits so many seconds

    Attributes
    ----------
    waiting : candidates that are not finished
    failures : those that failed, and why
    unavailable : those for which the runtime is not here
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        protocol: MeasuringProtocol,
        *,
        emit: Callable[[Subject, Measurement], None],
        step: Callable[[int], None] = lambda windows: None,
        extend: Callable[[int], None] = lambda windows: None,
        rng: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._protocol = protocol
        self._emit = emit
        self._step = step
        self._extend = extend
        self._rng = rng or random.Random(0)
        self._sleep = sleep
        self._idle: list[Idle] = []
        self._processes = 0
        self._turn: Series | None = None
        self._done: list[Series] = []
        self.waiting = [Series(s, protocol.stop(load=s.scenario.name == "load")) for s in subjects]
        self.failures: list[tuple[Subject, str]] = []
        self.unavailable: list[tuple[Subject, str]] = []

    @property
    def shares_benches(self) -> bool:
        """Whether a bench may have measured something else before, and may afterwards."""
        return self._protocol.processes == 1

    def run(self, bench: Bench) -> None:
        """Measure until no candidate waits, or for as many rounds as the protocol stays with one process.

        Raises
        ------
        WorkerDied : the bench is gone. The candidate whose turn it was has failed, and the others wait; all
            have failed where it was nobody's turn.
        """
        rounds = self._protocol.rounds(self._processes)
        strict = self._protocol.strict
        if bench.info.device_idle is not None:
            self._add_idle(bench.info.device_idle)
        try:
            for series in self._drawn():
                self._attempt(series, self._prepare, bench)
            if strict:
                self._rest(bench)
            while self.waiting and rounds != 0:
                if not strict:
                    self._rest(bench)
                for series in self._drawn():
                    self._sleep(self._rng.uniform(0.0, max(self._protocol.gap_s, bench.info.tick_s)))
                    self._attempt(series, self._measure, bench)
                rounds = None if rounds is None else rounds - 1
            if strict:
                self._rest(bench)
        except WorkerDied as death:
            self.give_up(death, [self._turn] if self._turn is not None else self.waiting)
            raise
        finally:
            self._turn = None
            self._processes += 1
            self._hand_over(bench)

    def give_up(self, error: PtprofError, series: Sequence[Series] | None = None) -> None:
        """Let candidates fail; all that wait where none are named."""
        which = self.unavailable if isinstance(error, RuntimeUnavailable) else self.failures
        for one in list(self.waiting if series is None else series):
            self.waiting.remove(one)
            which.append((one.subject, str(error)))
            self._step(max(self._protocol.windows - len(one.windows), 0))

    def _prepare(self, series: Series, bench: Bench) -> None:
        subject = series.subject
        series.prepared = bench.prepare(subject.run, subject.scenario)
        bench.warm_up(subject.run, subject.scenario, self._protocol)

    def _rest(self, bench: Bench) -> None:
        if bench.info.measures_idle:
            self._add_idle(bench.idle(self._protocol.idle_s))

    def _add_idle(self, idle: Idle) -> None:
        self._idle.append(idle.model_copy(update={"process": self._processes}))

    def _measure(self, series: Series, bench: Bench) -> None:
        subject, least = series.subject, self._protocol.windows
        window = bench.window(subject.run, subject.scenario, self._protocol, len(series.windows))
        series.add(window, self._processes, strict=self._protocol.strict)
        if len(series.windows) > least:
            self._extend(1)
        self._step(1)
        if series.stop.is_finished():
            self.waiting.remove(series)
            self._done.append(series)
            self._step(max(least - len(series.windows), 0))
            if not self._protocol.strict:
                self._hand_over(bench)

    def _hand_over(self, bench: Bench) -> None:
        """Emit what is finished; under a strict protocol, once the idle windows after it are there too."""
        while self._done:
            series = self._done.pop(0)
            if series.prepared is not None:
                measurement = summarise(
                    series.subject, self._protocol, series.prepared, bench.info, series.windows, self._idle
                )
                self._emit(series.subject, measurement)

    def _attempt(self, series: Series, action: Callable[[Series, Bench], None], bench: Bench) -> None:
        """Do something for one candidate, whose failure is its own."""
        self._turn = series
        try:
            action(series, bench)
        except WorkerDied:
            raise
        except PtprofError as error:
            self.give_up(error, [series])
        self._turn = None

    def _drawn(self) -> list[Series]:
        """Those that wait, in an order drawn anew."""
        return self._rng.sample(self.waiting, len(self.waiting))
