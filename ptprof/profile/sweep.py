"""Measuring a share of what is to be measured, in this process and those that it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

from ptprof.errors import PtprofError
from ptprof.profile import cold_start, paper_protocol
from ptprof.profile.bench import Bench, Setup
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.session import Session
from ptprof.profile.summary import Subject
from ptprof.profile.worker import WorkerDied
from ptprof.records import Measurement
from ptprof.study import Study

OpenBench = Callable[[Setup], AbstractContextManager[Bench]]
Failures = list[tuple[Subject, str]]


class Listener(Protocol):
    """Who is told how measuring goes on; perhaps from another machine."""

    def runtime(self, name: str) -> None:
        """What follows is measured on that runtime."""

    def step(self, windows: int) -> None:
        """So many windows have been measured, or will not be."""

    def extend(self, windows: int) -> None:
        """There are so many more than were planned."""

    def keep(self, subject: Subject, measurement: Measurement) -> None:
        """A candidate is measured, and the measurement is in the study."""

    def failed(self, failures: Failures) -> None:
        """Candidates could not be measured."""

    def unavailable(self, failures: Failures) -> None:
        """The runtime of candidates is not here."""


def measure(
    setup: Setup,
    protocol: MeasuringProtocol,
    open_bench: OpenBench,
    subjects: Sequence[Subject],
    listener: Listener,
) -> None:
    """Measure candidates, runtime after runtime; each measurement is written when it is finished.

    Raises
    ------
    EnergyError : a GPU to be metered that is not there
    """
    study = Study(setup.study)

    def keep(subject: Subject, measurement: Measurement) -> None:
        study.add_measurement(measurement)
        listener.keep(subject, measurement)

    for runtime in dict.fromkeys(subject.runtime for subject in subjects):
        listener.runtime(runtime)
        sweep = Sweep(replace(setup, runtime=runtime), protocol, open_bench, keep, listener)
        sweep.measure([subject for subject in subjects if subject.runtime == runtime])


class Sweep:
    """All that is to be measured on one runtime."""

    def __init__(
        self,
        setup: Setup,
        protocol: MeasuringProtocol,
        open_bench: OpenBench,
        keep: Callable[[Subject, Measurement], None],
        listener: Listener,
    ) -> None:
        self._setup = setup
        self._protocol = protocol
        self._open_bench = partial(open_bench, setup)
        self._keep = keep
        self._listener = listener
        self._gone: set[str] = set()

    def measure(self, subjects: Sequence[Subject]) -> None:
        """Measure them: on benches, or, what needs a fresh process each time, there."""
        keep, listener = self._keep, self._listener
        if self._protocol.name == "paper":
            failures = paper_protocol.measure(subjects, self._setup, emit=keep, step=listener.step)
            listener.failed(failures)
            return
        queries = dict.fromkeys(s.scenario for s in subjects if s.scenario.name != "cold-start")
        self._run(
            [
                Session(
                    [subject for subject in subjects if subject.scenario == query],
                    self._protocol,
                    emit=keep,
                    step=listener.step,
                    extend=listener.extend,
                )
                for query in queries
            ]
        )
        starts = [s for s in subjects if s.scenario.name == "cold-start" and s.run.run not in self._gone]
        if starts:
            failures = cold_start.measure(starts, self._protocol, self._setup, emit=keep, step=listener.step)
            listener.failed(failures)

    def _run(self, sessions: Sequence[Session]) -> None:
        """Sessions on one bench; on another where a candidate takes it down, or the protocol asks for it."""
        with ExitStack() as stack:
            bench: Bench | None = None
            for session in sessions:
                while session.waiting:
                    try:
                        bench = bench or stack.enter_context(self._open_bench())
                    except PtprofError as error:
                        session.give_up(error)
                        continue
                    with suppress(WorkerDied):
                        session.run(bench)
                        if session.shares_benches:
                            continue
                    stack.close()
                    bench = None
                self._gone |= {subject.run.run for subject, _ in session.unavailable}
                self._listener.failed(session.failures)
                self._listener.unavailable(session.unavailable)
