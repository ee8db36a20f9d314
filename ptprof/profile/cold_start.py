"""Cold starts: from no process at all to the first answer, part by part, each time in a fresh process."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ptprof import stats
from ptprof.energy import EnergyMeter
from ptprof.profile.bench import Info, Prepared, Setup, query_states
from ptprof.profile.fresh import FreshProcess, Job, energy_of_process, info_here, job_of
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.rounds import Rounds
from ptprof.profile.summary import Key, Subject, summarise
from ptprof.records import ColdStart, EnergyBreakdown, Measurement, Window
from ptprof.study import Study

#: In their order; the first begins when the process is asked for.
PARTS = ("start", "import", "load", "prepare", "first_query")


@dataclass(frozen=True)
class Start:
    """One cold start: seconds of each part and of a second query, and the energy up to the first answer."""

    at_s: float
    seconds: dict[str, float]
    next_query_s: float
    energy: EnergyBreakdown
    prepared: Prepared

    @property
    def total_s(self) -> float:
        """From nothing to the first answer."""
        return sum(self.seconds.values())

    def window(self, origin_s: float) -> Window:
        """The start as a window of one call."""
        return Window(
            start_s=self.at_s - origin_s,
            duration_s=self.total_s,
            calls=1,
            latencies_s=(self.total_s,),
            energy=self.energy,
        )


def measure(
    subjects: Sequence[Subject],
    protocol: MeasuringProtocol,
    setup: Setup,
    *,
    emit: Callable[[Subject, Measurement], None],
    step: Callable[[int], None] = lambda windows: None,
    rng: random.Random | None = None,
) -> list[tuple[Subject, str]]:
    """Start each candidate anew, in rounds: as often as the protocol has windows at least.

    A query is one whole start: from asking for a process to the first answer. What is on disk has been read
    before and is most likely in the page cache.

    Parameters
    ----------
    emit : takes each candidate with its measurement
    step : told of every start, and of starts that will not be

    Returns
    -------
    the candidates that could not be started, and why
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        EnergyMeter(setup.meter_gpus, watts_per_core=setup.watts_per_core) as meter,
    ):
        origin_s = time.monotonic()
        jobs: dict[Key, Job] = {}

        def attempt(subject: Subject) -> Start:
            if subject.key not in jobs:
                jobs[subject.key] = _job(setup, subject, Path(folder) / f"{len(jobs)}.npy")
            return start(jobs[subject.key], meter, setup.watts_per_core)

        rounds = Rounds(subjects, protocol.windows, attempt, step=step, rng=rng)
        info = info_here(setup, meter)
    for subject, starts in rounds.done:
        emit(subject, summarised(subject, protocol, info, starts, origin_s))
    return rounds.failures


def start(job: Job, meter: EnergyMeter, watts_per_core: float) -> Start:
    """Start a process for ``job``, and let it answer twice.

    Raises
    ------
    MeasurementError : the model cannot be opened or asked, or the process has died
    """
    with ExitStack() as stack:
        with meter.window() as window:
            process = stack.enter_context(FreshProcess(job))
            parts = {part: process.until(part) for part in PARTS}
        process.go_on()
        again, following, end = (process.until(part) for part in ("again", "next_query", "end"))
    times = [process.spawned_s, *(part.at_s for part in parts.values())]
    spent = energy_of_process(window.breakdown(), parts["first_query"].cpu_s, watts_per_core)
    return Start(
        at_s=process.spawned_s,
        seconds={
            part: later - earlier for part, (earlier, later) in zip(PARTS, pairwise(times), strict=True)
        },
        next_query_s=following.at_s - again.at_s,
        energy=spent,
        prepared=Prepared(**parts["load"].facts, **end.facts),
    )


def summarised(
    subject: Subject, protocol: MeasuringProtocol, info: Info, starts: Sequence[Start], origin_s: float
) -> Measurement:
    """The measurement that some starts amount to: times are means, with Student's intervals."""
    peaks = [s.prepared.peak_host_bytes for s in starts if s.prepared.peak_host_bytes is not None]
    prepared = replace(starts[-1].prepared, peak_host_bytes=max(peaks, default=None))
    windows = [start.window(origin_s) for start in starts]
    measured = summarise(subject, protocol, prepared, info, windows, [])
    phases = {f"{part}_s": stats.t_interval([start.seconds[part] for start in starts]) for part in PARTS}
    return measured.model_copy(
        update={
            "latency_s": stats.t_interval([start.total_s for start in starts]),
            "phases": ColdStart(
                repetitions=len(starts),
                next_query_s=stats.t_interval([start.next_query_s for start in starts]),
                **phases,
            ),
        }
    )


def _job(setup: Setup, subject: Subject, state: Path) -> Job:
    """The job of starting a candidate, its query written to ``state``."""
    states = query_states(Study(setup.study), subject.run, subject.scenario.batch)
    np.save(state, states.numpy())
    return job_of(setup, subject, state=str(state))
