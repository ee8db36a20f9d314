"""From runs in the study to measurements in the study."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from rich.progress import Progress

from ptprof.cluster import Executor
from ptprof.energy import CPU_WATTS_PER_CORE
from ptprof.errors import MeasurementError
from ptprof.profile import matrix, paper_protocol, spreading, sweep
from ptprof.profile.bench import Setup, query_states
from ptprof.profile.display import Display
from ptprof.profile.matrix import DEFAULT_RUNTIMES, DEFAULT_SCENARIOS
from ptprof.profile.protocol import protocol_named
from ptprof.profile.scenarios import scenario
from ptprof.profile.summary import Key, Subject
from ptprof.profile.sweep import Failures, OpenBench
from ptprof.profile.worker import WorkerBench
from ptprof.records import Measurement, Model
from ptprof.runtimes import format_of
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study


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
    cluster: Executor | None = None,
) -> list[Measurement]:
    """Measure what each model takes to answer, on each runtime, in each scenario and at each batch size.

    All models take turns in one worker process per runtime, and on each device of a cluster those that are
    measured there; a measurement is written as soon as it is
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
    cluster : whose devices measure, each its share, instead of ``device``

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
        format_of(name)  # raises: not known
    chosen = protocol_named(protocol).bounded(max_time)
    queries = [
        scenario(name, batch=batch, steps=steps, rate_per_s=rate, duration_s=duration)
        for batch in dict.fromkeys(batches)
        for name in dict.fromkeys(scenarios)
    ]
    for query in queries if chosen.name == "paper" else ():
        paper_protocol.check(query)
    if cluster is None:
        place = matrix.here(resolve_device(device), meter_gpus)
    else:
        spreading.refuse(meter_gpus)
        place = spreading.place(cluster)
    setup = Setup(
        study.root,
        runtimes[0],
        place.device,
        watts_per_core,
        nfe,
        threads=place.threads,
        precision=precision,
        tf32=tf32,
        meter_gpus=place.meters or (),
        device_idle_s=chosen.idle_s if chosen.strict else 0.0,
        counts_work=chosen.strict,
    )
    runs = [study.run(model) if isinstance(model, str) else model for model in models]
    subjects, lacking = matrix.candidates(study, runs, runtimes, queries, setup)
    if lacking and not (lenient and subjects):
        raise lacking[0][1]
    find = partial(
        matrix.measured_already, study, protocol=chosen.name, place=place, watts_per_core=watts_per_core
    )
    before = find(subjects)
    display = Display(progress, chosen)
    collected = _Collected(display, lenient)
    collected.there = {} if force else dict(before)
    missing = [subject for subject in subjects if subject.key not in collected.there]
    for run in {subject.run.run: subject.run for subject in missing}.values():
        query_states(study, run, 1)
    display.say(matrix.left_out(lacking))
    display.plan(len(subjects), missing, 1 if cluster is None else len(cluster.devices))
    if cluster is None:
        sweep.measure(setup, chosen, open_bench, missing, collected)
    else:

        def made(subjects: Sequence[Subject]) -> dict[Key, Measurement]:
            return {key: m for key, m in find(subjects).items() if m != before.get(key)}

        spreading.spread(cluster, missing, setup, chosen, open_bench, collected, made)
    if collected.failures:
        raise MeasurementError(_in_words(collected.failures, len(missing)))
    there = collected.there
    return [there[subject.key] for subject in subjects if subject.key in there]


class _Collected:
    """What this process knows of a sweep: what is measured, what failed, what is shown."""

    def __init__(self, display: Display, lenient: bool) -> None:
        self.there: dict[Key, Measurement] = {}
        self.failures: Failures = []
        self._display = display
        self._lenient = lenient
        self.runtime, self.step, self.extend = display.runtime, display.step, display.extend

    def keep(self, subject: Subject, measurement: Measurement) -> None:
        self.there[subject.key] = measurement

    def failed(self, failures: Failures) -> None:
        self.failures += failures

    def unavailable(self, failures: Failures) -> None:
        if self._lenient:
            self._display.say(matrix.left_out(failures))
        else:
            self.failures += failures


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
