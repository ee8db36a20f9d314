"""Measuring on the devices of a cluster: candidates that take turns stay on one, as far as they can."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ptprof.cluster import Device, Executor, deal
from ptprof.energy.nvml import Nvml
from ptprof.environment import threads
from ptprof.errors import UsageError
from ptprof.profile import matrix
from ptprof.profile.bench import Setup
from ptprof.profile.matrix import Place
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.summary import Subject
from ptprof.profile.sweep import Failures, Listener, OpenBench, measure
from ptprof.records import Measurement

#: What dealing takes a start of a process to last (s), the loading of its libraries included.
START_S = 5.0


@dataclass(frozen=True)
class Relay:
    """Tells another process how measuring goes on: as the name of a `Listener`'s verb, and what it takes."""

    tell: Callable[[tuple[str, tuple[Any, ...]]], None]

    def runtime(self, name: str) -> None:
        """Several are measured at the same time."""

    def step(self, windows: int) -> None:
        self.tell(("step", (windows,)))

    def extend(self, windows: int) -> None:
        self.tell(("extend", (windows,)))

    def keep(self, subject: Subject, measurement: Measurement) -> None:
        self.tell(("keep", (subject, measurement)))

    def failed(self, failures: Failures) -> None:
        self.tell(("failed", (failures,)))

    def unavailable(self, failures: Failures) -> None:
        self.tell(("unavailable", (failures,)))


def place(cluster: Executor) -> Place:
    """The devices of a cluster as a place to measure at; each GPU is metered by itself."""
    device = cluster.devices[0]
    each = threads(device.cores)
    if cluster.on == "cpu":
        return Place("cpu", each, frozenset({device.kind}))
    boards = frozenset(uuid for there in cluster.everywhere(_boards) for uuid in there)
    return Place("cuda:0", each, boards, meters=None)


def spread(
    cluster: Executor,
    subjects: Sequence[Subject],
    setup: Setup,
    protocol: MeasuringProtocol,
    open_bench: OpenBench,
    listener: Listener,
    look: Callable[[Sequence[Subject]], dict[Any, Measurement]],
) -> None:
    """Measure candidates on all devices of a cluster, each of which writes into the study itself.

    What was on a device that is lost is dealt anew, but for what it has finished.

    Parameters
    ----------
    look : finds what is measured of candidates, by their keys, as far as this sweep has made it
    """
    steps: Counter[Device] = Counter()
    over: set[Any] = set()

    def hear(device: Device, event: tuple[str, tuple[Any, ...]]) -> None:
        verb, taken = event
        if verb == "keep":
            over.add(taken[0].key)
            steps[device] -= protocol.windows
        elif verb in ("failed", "unavailable"):
            over.update(subject.key for subject, _ in taken[0])
            steps[device] -= protocol.windows * len(taken[0])
        else:
            steps[device] += taken[0] if verb == "step" else -taken[0]
        getattr(listener, verb)(*taken)

    def left(device: Device, share: Sequence[Subject]) -> list[Subject]:
        waiting = [subject for subject in share if subject.key not in over]
        for key, measurement in look(waiting).items():
            subject = next(subject for subject in waiting if subject.key == key)
            over.add(key)
            listener.keep(subject, measurement)
            steps[device] -= protocol.windows
        # The windows of what is begun anew do not count.
        listener.step(-steps.pop(device, 0))
        return [subject for subject in waiting if subject.key not in over]

    lost = cluster.run(
        partial(_measure, replace(setup, study=setup.study.resolve()), protocol, open_bench),
        subjects,
        deal=partial(shares, protocol=protocol),
        hear=hear,
        left=left,
    )
    listener.failed(lost)


def shares(subjects: Sequence[Subject], devices: int, *, protocol: MeasuringProtocol) -> list[list[Subject]]:
    """The candidates of each device: about as long to measure, and with as many of a session as can be.

    Candidates of one session take turns, so that a drift of the machine is in the figures of them all: they
    are measured on one device, unless an even share of the work asks for a cut.
    """
    sessions: dict[Any, list[Subject]] = defaultdict(list)
    for subject in subjects:
        sessions[_session(subject, protocol)].append(subject)
    # By runtime, so that a device opens as few as can be.
    order = {runtime: i for i, runtime in enumerate(dict.fromkeys(s.runtime for s in subjects))}
    groups = sorted(sessions.values(), key=lambda group: order[group[0].runtime])
    return deal(groups, devices, partial(_cost_s, protocol=protocol))


def _session(subject: Subject, protocol: MeasuringProtocol) -> tuple[Any, ...]:
    """What candidates that take turns have in common."""
    if protocol.name == "paper":
        return (subject.runtime,)
    query = subject.scenario
    return subject.runtime, query.name if query.name == "cold-start" else query


def _cost_s(subject: Subject, *, protocol: MeasuringProtocol) -> float:
    """How long (s) a candidate takes, as far as it is known before."""
    if protocol.name == "paper" or subject.scenario.name == "cold-start":
        return protocol.windows * START_S
    return protocol.planned_s(1, subject.scenario.duration_s)


def _measure(
    setup: Setup,
    protocol: MeasuringProtocol,
    open_bench: OpenBench,
    subjects: Sequence[Subject],
    tell: Callable[[Any], None],
) -> None:
    """What a device does with its share: as one machine would, its own board metered."""
    setup = replace(setup, meter_gpus=matrix.boards_to_meter(setup.device, None))
    measure(setup, protocol, open_bench, subjects, Relay(tell))


def _boards() -> tuple[str, ...]:
    """The boards of this machine, visible or not."""
    with Nvml() as nvml:
        return tuple(board.uuid for board in nvml.boards())


def refuse(meter_gpus: Sequence[str] | None) -> None:
    """Raise UsageError for what a cluster cannot be asked for."""
    if meter_gpus is not None:
        raise UsageError("on a cluster each GPU meters itself: leave --meter-gpus out")
