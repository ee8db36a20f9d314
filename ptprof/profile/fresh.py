"""A process of its own that loads one model and answers, watched from outside."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ptprof.energy import CpuModel, EnergyMeter
from ptprof.energy.combine import energy
from ptprof.environment import threads
from ptprof.errors import MeasurementError, StudyError
from ptprof.profile.bench import Info, Setup, device_id, environment_of, plugins_of
from ptprof.profile.child import PATIENCE_S, Child
from ptprof.profile.summary import Subject
from ptprof.records import EnergyBreakdown
from ptprof.runtimes import format_of
from ptprof.study import Study, sha256


@dataclass(frozen=True)
class Job:
    """What a fresh process is to do: open a model and answer one query, or those of the whole test split.

    ``file`` is what a runtime that reads files opens; the others build the module of ``run`` in ``study``.
    The one query is asked with the array in ``state``; ``steps`` is the length of the split's rollouts, None
    for one step.
    """

    runtime: str
    device: str
    threads: int | None
    precision: str
    tf32: bool
    nfe: int | None
    study: str
    run: str
    file: str | None
    state: str | None = None
    whole_split: bool = False
    steps: int | None = None


@dataclass(frozen=True)
class Part:
    """When a part was done (s, monotonic clock), the CPU seconds since the process began, and facts."""

    at_s: float
    cpu_s: float
    facts: dict[str, Any] = field(default_factory=dict)


class FreshProcess:
    """A process that does a job, part by part; it ends with the ``with`` block.

    Attributes
    ----------
    spawned_s : when it was asked for, s on the monotonic clock
    """

    def __init__(self, job: Job) -> None:
        self._child = Child("ptprof.profile.fresh_main")
        self.spawned_s = self._child.spawned_s
        with self._child.socket as ours:
            self._heard = ours.makefile("r", encoding="utf-8")
            self._said = ours.makefile("w", encoding="utf-8")
        try:
            self._say(asdict(job))
        except MeasurementError as error:
            self.__exit__(MeasurementError, error, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.end(PATIENCE_S if error is None else 0.0)
        self._heard.close()
        with suppress(ConnectionError):
            self._said.close()

    def go_on(self) -> None:
        """Let a process go on that waits for it."""
        self._say({})

    def until(self, part: str) -> Part:
        """Wait until a part is done.

        Raises
        ------
        MeasurementError : the model cannot do it, or the process has died
        """
        try:
            line = self._heard.readline()
        except ConnectionError:
            line = ""
        if not line:
            raise MeasurementError(self._child.last_words("the process"))
        message = json.loads(line)
        if "error" in message:
            raise MeasurementError(message["error"])
        if message.pop("part") != part:
            raise MeasurementError(f"the process did not say {part!r} when it was its turn")
        return Part(message.pop("at_s"), message.pop("cpu_s"), message)

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._said.write(json.dumps(message) + "\n")
            self._said.flush()
        except ConnectionError:
            raise MeasurementError(self._child.last_words("the process")) from None


def job_of(setup: Setup, subject: Subject, **asked: Any) -> Job:
    """The job that opens what ``subject`` is; ``asked`` are the fields that say with what it is asked.

    Raises
    ------
    StudyError : an exported file that is not there any more, or was changed
    """
    file = None if format_of(subject.runtime) is None else str(_file(Study(setup.study), subject))
    return Job(
        runtime=subject.runtime,
        device=subject.device,
        threads=setup.threads or threads(),
        precision=setup.precision,
        tf32=setup.tf32,
        nfe=setup.nfe,
        study=str(setup.study),
        run=subject.run.run,
        file=file,
        **asked,
    )


def info_here(setup: Setup, meter: EnergyMeter) -> Info:
    """Where fresh processes run: the machine of this one."""
    return Info(
        device_id=device_id(setup.device),
        environment=environment_of(setup.device, meter),
        measures_idle=False,
        tick_s=meter.tick_s,
        metered_gpus=meter.boards,
        plugins=plugins_of(setup.runtime, meter),
    )


def energy_of_process(seen: EnergyBreakdown, cpu_s: float, watts_per_core: float) -> EnergyBreakdown:
    """What a window in this process saw while another one worked, whose CPU seconds are ``cpu_s``.

    Sensors see the whole machine. The model of the CPU knows this process only, which has waited: its figure
    is replaced by that of the other's CPU seconds.
    """
    if seen.cpu is None or seen.cpu.source != "modelled":
        return seen
    model = CpuModel(watts_per_core)
    modelled = energy(
        cpu_s * watts_per_core,
        0.0,
        systematic=model.systematic,
        gain_id=model.gain_id,
        source=model.source,
        sensor=model.name,
        flags=seen.cpu.flags,
    )
    return seen.model_copy(update={"cpu": modelled})


def _file(study: Study, subject: Subject) -> Path:
    """The exported file that has the subject's hash, proven to have it."""
    wanted = format_of(subject.runtime), subject.sha256
    record = study.artifact(subject.run.run)
    names = [] if record is None else [f.name for f in record.files if (f.format, f.sha256) == wanted]
    path = study.artifact_folder(subject.run.run) / names[0] if names else None
    if path is None or not path.exists() or sha256(path) != subject.sha256:
        remedy = f"run `ptprof export {subject.run.model} --format {wanted[0]} --force`"
        raise StudyError(f"the {wanted[0]} file of {subject.run.run} is not what was exported: {remedy}")
    return path
