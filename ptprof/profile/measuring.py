"""From runs in the study to measurements in the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Literal

from rich.progress import Progress

from ptprof.energy import CPU_WATTS_PER_CORE
from ptprof.errors import MeasurementError, PtprofError, unknown
from ptprof.profile import cold_start, matrix, paper_protocol
from ptprof.profile.bench import Bench, Setup, default_threads, query_states
from ptprof.profile.display import Display
from ptprof.profile.matrix import DEFAULT_RUNTIMES, DEFAULT_SCENARIOS
from ptprof.profile.protocol import MeasuringProtocol, protocol_named
from ptprof.profile.scenarios import scenario
from ptprof.profile.session import Session
from ptprof.profile.summary import Subject
from ptprof.profile.worker import WorkerBench, WorkerDied
from ptprof.records import Measurement, Model
from ptprof.runtimes import RUNTIMES
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study

OpenBench = Callable[[Setup], AbstractContextManager[Bench]]
Failures = list[tuple[Subject, str]]


def profile(
    study: Study,
    models: Sequence[Model | str],
    *,
    runtimes: Sequence[str] = DEFAULT_RUNTIMES,
    scenarios: Sequence[str] = DEFAULT_SCENARIOS,
    device: str = "cpu",
    batches: Sequence[int] = (1,),
    steps: int = 10,
    rate: float | None = None,
    duration: float | None = None,
    nfe: int | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    tf32: bool = False,
    protocol: str = "quick",
    max_time: float | None = None,
    meter_gpus: Sequence[str] | None = None,
    watts_per_core: float = CPU_WATTS_PER_CORE,
    progress: Progress | None = None,
    force: bool = False,
    lenient: bool = False,
    open_bench: OpenBench = WorkerBench,
) -> list[Measurement]:
    """Measure what each model takes to answer, on each runtime, in each scenario and at each batch size.

    All models take turns in one worker process per runtime; a measurement is written as soon as it is
    finished, and one that is there already is not made again. What a candidate cannot do does not keep the
    others from being measured; it is raised when they have been.

    Parameters
    ----------
    models : runs, or names of models, whose newest run is meant
    batches : initial states per call
    steps : length of a rollout
    rate, duration : queries per second of a ``load``, and for how long they arrive (s)
    nfe : how often models that sample evaluate their networks; as their recipes say unless given
    precision, tf32 : of the products, as `ptprof.runtimes.open_runner` takes them
    max_time : how long (s) the windows of one candidate may take; as the protocol says unless given
    meter_gpus : boards whose energy is measured, by visible index or UUID; the one of ``device`` for None
    watts_per_core : for the model of the CPU's power, W
    force : measure again what has been measured
    lenient : leave out what is not exported and runtimes that are not here, and say so
    open_bench : what measures; a process of its own for each runtime

    Returns
    -------
    list of Measurement : those asked for, old and new, by batch, scenario, then model, then runtime

    Raises
    ------
    UsageError : an unknown runtime, scenario, protocol or device, or fewer than one state or step
    StudyError, DataError : a model that is not trained or not exported, no test data to ask with
    EnergyError : a GPU to be metered that is not there
    MeasurementError : candidates that could not be measured; all the others have been
    """
    for name in runtimes:
        if name not in RUNTIMES:
            raise unknown("runtime", name, RUNTIMES)
    chosen = protocol_named(protocol).bounded(max_time)
    queries = [
        scenario(name, batch=batch, steps=steps, rate_per_s=rate, duration_s=duration)
        for batch in dict.fromkeys(batches)
        for name in dict.fromkeys(scenarios)
    ]
    for query in queries if chosen.name == "paper" else ():
        paper_protocol.check(query)
    device = resolve_device(device)
    setup = Setup(
        study.root,
        runtimes[0],
        device,
        watts_per_core,
        nfe,
        threads=default_threads(),
        precision=precision,
        tf32=tf32,
        meter_gpus=matrix.boards_to_meter(device, meter_gpus),
        device_idle_s=chosen.idle_s if chosen.strict else 0.0,
        counts_work=chosen.strict,
    )
    runs = [study.run(model) if isinstance(model, str) else model for model in models]
    subjects, lacking = matrix.candidates(study, runs, runtimes, queries, setup)
    if lacking and not (lenient and subjects):
        raise lacking[0][1]
    there = {} if force else matrix.measured_already(study, subjects, chosen.name, setup)
    missing = [subject for subject in subjects if subject.key not in there]
    for run in {subject.run.run: subject.run for subject in missing}.values():
        query_states(study, run, 1)
    display = Display(progress, chosen)
    display.say(matrix.left_out(lacking))
    display.plan(len(subjects), missing)
    failures: Failures = []

    def keep(subject: Subject, measurement: Measurement) -> None:
        study.add_measurement(measurement)
        there[subject.key] = measurement

    for runtime in dict.fromkeys(subject.runtime for subject in missing):
        display.runtime(runtime)
        of_it = [subject for subject in missing if subject.runtime == runtime]
        sweep = Sweep(replace(setup, runtime=runtime), chosen, open_bench, keep, display)
        sweep.measure(of_it)
        failures += sweep.failures
        if lenient:
            display.say(matrix.left_out(sweep.unavailable))
        else:
            failures += sweep.unavailable
    if failures:
        raise MeasurementError(_in_words(failures, len(missing)))
    return [there[subject.key] for subject in subjects if subject.key in there]


class Sweep:
    """All that is to be measured on one runtime.

    Attributes
    ----------
    failures : candidates that could not be measured, and why
    unavailable : those for which the runtime itself is not here
    """

    def __init__(
        self,
        setup: Setup,
        protocol: MeasuringProtocol,
        open_bench: OpenBench,
        keep: Callable[[Subject, Measurement], None],
        display: Display,
    ) -> None:
        self._setup = setup
        self._protocol = protocol
        self._open_bench = partial(open_bench, setup)
        self._keep = keep
        self._display = display
        self.failures: Failures = []
        self.unavailable: Failures = []

    def measure(self, subjects: Sequence[Subject]) -> None:
        """Measure them: on benches, or, what needs a fresh process each time, there."""
        keep, display = self._keep, self._display
        if self._protocol.name == "paper":
            self.failures += paper_protocol.measure(subjects, self._setup, emit=keep, step=display.step)
            return
        queries = dict.fromkeys(s.scenario for s in subjects if s.scenario.name != "cold-start")
        sessions = [
            Session(
                [subject for subject in subjects if subject.scenario == query],
                self._protocol,
                emit=keep,
                step=display.step,
                extend=display.extend,
            )
            for query in queries
        ]
        self._run(sessions)
        gone = {subject.run.run for subject, _ in self.unavailable}
        starts = [s for s in subjects if s.scenario.name == "cold-start" and s.run.run not in gone]
        if starts:
            self.failures += cold_start.measure(
                starts, self._protocol, self._setup, emit=keep, step=display.step
            )

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
                self.failures += session.failures
                self.unavailable += session.unavailable


def _in_words(failures: Sequence[tuple[Subject, str]], of: int) -> str:
    """One line: who failed where, by what went wrong."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for subject, why in failures:
        by_reason.setdefault((why, subject.runtime), []).append(subject.run.model)
    parts = [
        f"{', '.join(dict.fromkeys(models))} on {runtime}: {why}"
        for (why, runtime), models in by_reason.items()
    ]
    done = f"; {of - len(failures)} others have been made" if len(failures) < of else ""
    return f"{len(failures)} of {of} measurements could not be made{done}: {'; '.join(parts)}"
