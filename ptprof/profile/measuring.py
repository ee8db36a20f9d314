"""From runs in the study to measurements in the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial

from rich.progress import Progress

from ptprof.energy import CPU_WATTS_PER_CORE, CpuModel
from ptprof.errors import MeasurementError, PtprofError, StudyError, unknown
from ptprof.profile.bench import FORMATS, Bench, Setup, device_id, query_states
from ptprof.profile.protocol import MeasuringProtocol, protocol_named
from ptprof.profile.scenarios import SCENARIOS, Scenario, scenario
from ptprof.profile.session import Session
from ptprof.profile.summary import Key, Subject
from ptprof.profile.worker import WorkerBench, WorkerDied
from ptprof.records import Measurement, ModelRecord, variant_of
from ptprof.runtimes import RUNTIMES
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study

OpenBench = Callable[[Setup], AbstractContextManager[Bench]]


def profile(
    study: Study,
    models: Sequence[ModelRecord | str],
    *,
    runtimes: Sequence[str] = RUNTIMES,
    scenarios: Sequence[str] = SCENARIOS,
    device: str = "cpu",
    batch: int = 1,
    steps: int = 10,
    nfe: int | None = None,
    protocol: str = "quick",
    watts_per_core: float = CPU_WATTS_PER_CORE,
    progress: Progress | None = None,
    force: bool = False,
    open_bench: OpenBench = WorkerBench,
) -> list[Measurement]:
    """Measure what each model takes to answer, on each runtime and in each scenario.

    All models take turns in one worker process per runtime; a measurement is written as soon as it is
    finished, and one that is there already is not made again. What a candidate cannot do does not keep the
    others from being measured; it is raised when they have been.

    Parameters
    ----------
    models : runs, or names of models, whose newest run is meant
    batch : initial states per call
    steps : length of a rollout
    nfe : how often models that sample evaluate their networks; as their recipes say unless given
    watts_per_core : for the model of the CPU's power, W
    force : measure again what has been measured
    open_bench : what measures; a process of its own for each runtime

    Returns
    -------
    list of Measurement : those asked for, old and new, by scenario, then model, then runtime

    Raises
    ------
    UsageError : an unknown runtime, scenario, protocol or device, or fewer than one state or step
    StudyError, DataError : a model that is not trained or not exported, no test data to ask with
    MeasurementError : candidates that could not be measured; all the others have been
    """
    for name in runtimes:
        if name not in RUNTIMES:
            raise unknown("runtime", name, RUNTIMES)
    chosen = protocol_named(protocol)
    queries = [scenario(name, batch=batch, steps=steps) for name in dict.fromkeys(scenarios)]
    device = resolve_device(device)
    runs = [study.run(model) if isinstance(model, str) else model for model in models]
    subjects = [
        Subject(run, runtime, device, query, source_sha256(study, run, runtime, nfe), variant_of(nfe))
        for query in queries
        for run in runs
        for runtime in dict.fromkeys(runtimes)
    ]
    there = {} if force else measured_already(study, subjects, chosen, watts_per_core)
    missing = [subject for subject in subjects if subject.key not in there]
    for run in {subject.run.run: subject.run for subject in missing}.values():
        query_states(study, run, 1)
    display = _Display(progress, chosen, len(subjects), len(missing))
    failures: list[tuple[Subject, str]] = []

    def keep(subject: Subject, measurement: Measurement) -> None:
        study.add_measurement(measurement)
        there[subject.key] = measurement

    for runtime in dict.fromkeys(subject.runtime for subject in missing):
        sessions = [
            Session(chosen_subjects, chosen, emit=keep, step=display.step)
            for query in queries
            if (chosen_subjects := [s for s in missing if s.runtime == runtime and s.scenario == query])
        ]
        setup = Setup(study.root, runtime, device, watts_per_core, nfe)
        display.runtime(runtime)
        _run(sessions, partial(open_bench, setup))
        failures += [failure for session in sessions for failure in session.failures]
    if failures:
        raise MeasurementError(_in_words(failures, len(missing)))
    return [there[subject.key] for subject in subjects]


def source_sha256(study: Study, run: ModelRecord, runtime: str, nfe: int | None = None) -> str:
    """The hash of what ``runtime`` runs: the exported file, or the checkpoint where it takes the module.

    ``nfe`` names the export with so many evaluations.

    Raises
    ------
    StudyError : not exported, or from an earlier training
    """
    if runtime not in FORMATS:
        return run.checkpoint_sha256
    kind = FORMATS[runtime]
    artifact = study.artifact(run.run)
    files = artifact.files if artifact is not None else ()
    found = [f for f in files if (f.format, f.variant) == (kind, variant_of(nfe))]
    command = f"ptprof export {run.model}" + ("" if nfe is None else f" --nfe {nfe}")
    if artifact is None or not found:
        raise StudyError(f"{run.run} is not exported to {kind}: run `{command}`")
    if artifact.checkpoint_sha256 != run.checkpoint_sha256:
        raise StudyError(f"{run.run} was trained again after it was exported: run `{command} --force`")
    return found[0].sha256


def measured_already(
    study: Study, subjects: Sequence[Subject], protocol: MeasuringProtocol, watts_per_core: float
) -> dict[Key, Measurement]:
    """The newest measurement of each subject by ``protocol`` on this very device, by the subject's key."""
    cpu = CpuModel(watts_per_core).name
    here = {device: device_id(device) for device in {subject.device for subject in subjects}}
    newest: dict[tuple[object, ...], Measurement] = {}
    for m in study.measurements(lambda m: m.protocol == protocol.name and m.precision == "fp32"):
        energy = m.energy_per_query.cpu
        # A model of the CPU by other watts is another figure.
        if energy is None or energy.source != "modelled" or energy.sensor == cpu:
            query = Scenario(m.scenario, m.batch, m.steps)
            newest[m.run, m.runtime, m.device, query, m.artifact_sha256, m.variant, m.device_id] = m
    found = {}
    for subject in subjects:
        same = newest.get((*subject.key, here[subject.device]))
        # A run that was trained anew keeps its name, and may keep its weights.
        if same is not None and same.created >= subject.run.created:
            found[subject.key] = same
    return found


def _run(sessions: Sequence[Session], open_bench: Callable[[], AbstractContextManager[Bench]]) -> None:
    """The sessions of one runtime on one bench, and on another one where a candidate takes it down."""
    with ExitStack() as stack:
        bench: Bench | None = None
        for session in sessions:
            while session.waiting:
                try:
                    bench = bench or stack.enter_context(open_bench())
                except PtprofError as error:
                    session.give_up(str(error))
                    continue
                try:
                    session.run(bench)
                except WorkerDied:
                    bench = None


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


class _Display:
    """A bar that counts windows, headed by how long it will take."""

    def __init__(self, progress: Progress | None, protocol: MeasuringProtocol, total: int, new: int) -> None:
        self._progress = progress
        if progress is None:
            return
        minutes = protocol.planned_s(new) / 60
        there = f", {total - new} of them there already" if new < total else ""
        if new:
            progress.console.print(
                f"{total} measurements{there}: about {minutes:.1f} min of measuring, "
                f"up to {protocol.min_calls} times that where calls are long"
            )
        self._task = progress.add_task("profile", total=new * protocol.windows)

    def runtime(self, runtime: str) -> None:
        if self._progress is not None:
            self._progress.update(self._task, description=f"profile on {runtime}")

    def step(self, windows: int) -> None:
        if self._progress is not None:
            self._progress.advance(self._task, windows)
