"""What is to be measured: candidates by runtime, scenario and batch; and what of it has been."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ptprof import plugins
from ptprof.energy import CpuModel
from ptprof.energy.gpus import boards_named
from ptprof.energy.own import own_counters
from ptprof.energy.visible import GpuName, board_uuid
from ptprof.environment import threads
from ptprof.errors import PtprofError, RuntimeUnavailable, StudyError, UsageError
from ptprof.export.artifact import source_sha256
from ptprof.export.variant import file_variant
from ptprof.profile.bench import Setup, device_id
from ptprof.profile.scenarios import Scenario
from ptprof.profile.summary import Key, Subject
from ptprof.records import Measurement, Model, PinnRecord
from ptprof.study import Study

#: What is measured unless it is asked for otherwise: quick to open, and exported by default.
DEFAULT_RUNTIMES = ("eager", "torchscript", "onnxruntime")
DEFAULT_SCENARIOS = ("one-step", "rollout")


@dataclass(frozen=True)
class LeftOut:
    """Candidates of one runtime that are not measured, and why."""

    runtime: str
    models: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return f"left out on {self.runtime}: {', '.join(self.models)}: {self.why}"


@dataclass(frozen=True)
class Place:
    """Where it is measured: one device, or several that are alike.

    Attributes
    ----------
    device : as torch spells it where it is measured
    threads : of the CPU, in one query
    device_ids : as measurements name the devices
    meters : the boards whose energy is measured, by visible index or UUID; each device's own for None
    cpu_sensor : what a plugin counts the CPU's energy with; "" where none does, or where that is not known
    """

    device: str
    threads: int
    device_ids: frozenset[str]
    meters: tuple[GpuName, ...] | None = ()
    cpu_sensor: str = ""

    def metered(self, device_id: str) -> set[str]:
        """The boards that a measurement on a device has metered, as far as they are known by UUID."""
        return {device_id} if self.meters is None else {gpu for gpu in self.meters if isinstance(gpu, str)}


def candidates(
    study: Study, runs: Sequence[Model], runtimes: Sequence[str], queries: Sequence[Scenario], setup: Setup
) -> tuple[list[Subject], list[tuple[Subject, PtprofError]]]:
    """Every run on every runtime with every query; apart, those of which the runtime has nothing to run.

    A network that gives no states is not rolled out, and is left out where that is asked for.

    Raises
    ------
    UsageError : nothing is left to be measured
    """
    found: list[Subject] = []
    lacking: list[tuple[Subject, PtprofError]] = []
    for run, query in ((run, query) for query in queries for run in runs):
        if isinstance(run, PinnRecord) and query.name == "rollout":
            continue
        for runtime in dict.fromkeys(runtimes):
            subject = Subject(
                run, runtime, setup.device, query, "", precision=setup.arithmetic, threads=setup.threads
            )
            try:
                variant = file_variant(runtime, nfe=setup.nfe, precision=setup.precision)
                sha256 = source_sha256(study, run, runtime, nfe=setup.nfe, precision=setup.precision)
            except (StudyError, RuntimeUnavailable) as error:
                lacking.append((subject, error))
            else:
                found.append(replace(subject, sha256=sha256, variant=variant))
    if not found and not lacking:
        raise UsageError("a PINN gives a value at a point and is not rolled out: take --scenario one-step")
    return found, lacking


def left_out(lacking: Sequence[tuple[Subject, PtprofError | str]]) -> Iterator[LeftOut]:
    """The runtimes that something keeps from being measured, each with its models and the first reason."""
    for runtime in dict.fromkeys(subject.runtime for subject, _ in lacking):
        there = [(subject, why) for subject, why in lacking if subject.runtime == runtime]
        models = dict.fromkeys(subject.run.model for subject, _ in there)
        yield LeftOut(runtime, tuple(models), str(there[0][1]))


def boards_to_meter(device: str, named: Sequence[str] | None) -> tuple[GpuName, ...]:
    """The boards whose energy is measured: those named by visible index or UUID, or the one of ``device``.

    They are known by UUID, so that they can be metered before anything starts CUDA; where NVML alone cannot
    tell which one ``device`` is, by torch's index.

    Raises
    ------
    EnergyError : a GPU that is named and is not there
    """
    if named is None:
        if device == "cpu":
            return ()
        index = int(device.partition(":")[2] or 0)
        return (board_uuid(index) or index,)
    return boards_named([int(name) if name.isdecimal() else name for name in named])


def here(device: str, meter_gpus: Sequence[str] | None = None) -> Place:
    """A device of this machine, and the boards that are to be metered; raises as `boards_to_meter`."""
    meters = boards_to_meter(device, meter_gpus)
    own = " + ".join(dict.fromkeys(c.name for c in own_counters() if c.component == "cpu"))
    return Place(device, threads(), frozenset({device_id(device)}), meters, own)


def measured_already(
    study: Study, subjects: Sequence[Subject], protocol: str, place: Place, watts_per_core: float
) -> dict[Key, Measurement]:
    """The newest measurement of each subject by ``protocol`` at this very place, by the subject's key."""
    newest: dict[Key, Measurement] = {}
    for m in study.measurements(_as_here(protocol, place, watts_per_core)):
        arrivals = (None, None) if m.load is None else (m.load.rate_per_s, m.load.duration_s)
        query = Scenario(m.scenario, m.batch, m.steps, *arrivals)
        key = (m.run, m.runtime, m.device, query, m.artifact_sha256, m.variant, m.precision, m.threads)
        newest[key] = m
    return {
        subject.key: newest[subject.key]
        for subject in subjects
        # A run that was trained anew keeps its name, and may keep its weights.
        if subject.key in newest and newest[subject.key].created >= subject.run.created
    }


def _as_here(protocol: str, place: Place, watts_per_core: float) -> Callable[[Measurement], bool]:
    """Whether a measurement was made by this protocol, on these devices, by these sensors."""
    cpu, own = CpuModel(watts_per_core).name, plugins.runtimes()

    def same(m: Measurement) -> bool:
        energy = m.energy_per_query.cpu
        return (
            m.protocol == protocol
            and m.device_id in place.device_ids
            and set(m.metered_gpus) == place.metered(m.device_id)
            # A model of the CPU by other watts is another figure, and so is what another sensor counts.
            and (energy is None or energy.source != "modelled" or energy.sensor == cpu)
            and (not place.cpu_sensor or (energy is not None and energy.sensor == place.cpu_sensor))
            # A runtime of one's own may have been changed since.
            and (m.runtime not in own or own[m.runtime].source in m.plugins)
        )

    return same
