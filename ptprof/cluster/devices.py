"""The devices of a cluster: what its nodes are, and whether they can work for us."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptprof.errors import RuntimeUnavailable, StudyError


@dataclass(frozen=True)
class Device:
    """What works on one thing at a time: all CPUs of a node, or one of its GPUs and its share of them.

    ``node`` is Ray's word for the node, ``name`` a person's; ``kind`` is the processor's or the GPU's name.
    ``number`` tells those of one node apart; which GPU it is Ray says when work begins.
    """

    node: str
    name: str
    kind: str
    cores: int
    gpus: int = 0
    number: int = 0


@dataclass(frozen=True)
class Node:
    """What Ray says of a node: how many CPUs and GPUs it offers; ``accelerator`` is the GPUs' name."""

    id: str
    name: str
    cpus: int
    gpus: int
    accelerator: str = ""


@dataclass(frozen=True)
class Facts:
    """What a process found on a node: ``host`` tells its machine, ``cores`` are those that it may use."""

    host: str
    cpu: str
    cores: frozenset[int]
    versions: Mapping[str, str]
    sees: bool
    writes: bool


def check(here: Facts, found: Sequence[tuple[Node, Facts]], folder: str) -> None:
    """Whether nodes can work on what lies in ``folder`` as this machine would.

    Raises
    ------
    StudyError : a node that does not see the folder, or may not write there
    RuntimeUnavailable : other versions, or more CPUs offered than a machine has
    """
    for node, facts in found:
        if not facts.sees:
            raise StudyError(
                f"{node.name} does not see {folder}: nodes share the study's folder; on machines that do not,"
                " measure one by one and bring the studies together with `ptprof study merge`"
            )
        if not facts.writes:
            raise StudyError(f"{node.name} may not write into {folder}")
        differing = sorted(
            name
            for name in {*here.versions, *facts.versions}
            if here.versions.get(name) != facts.versions.get(name)
        )
        if differing:
            name = differing[0]
            there, ours = facts.versions.get(name, "none"), here.versions.get(name, "none")
            more = f" ({len(differing) - 1} more differ)" if len(differing) > 1 else ""
            raise RuntimeUnavailable(
                f"{node.name} has {name} {there}, this machine {ours}{more}: install the same on each node"
            )
    machines: dict[str, list[tuple[Node, Facts]]] = defaultdict(list)
    for node, facts in found:
        machines[facts.host].append((node, facts))
    for together in machines.values():
        offered = sum(node.cpus for node, _ in together)
        cores = len(frozenset[int]().union(*(facts.cores for _, facts in together)))
        if offered > cores:
            names = ", ".join(node.name for node, _ in together)
            raise RuntimeUnavailable(
                f"{names}: {offered} CPUs are offered on a machine of {cores} cores; start Ray with"
                " --num-cpus as many as there are"
            )


def devices_of(found: Sequence[tuple[Node, Facts]], on: str) -> tuple[Device, ...]:
    """The devices for work ``on`` "cpu" or "cuda": figures of several kinds would not be comparable.

    Raises
    ------
    RuntimeUnavailable : none, or of several kinds
    """
    devices = [device for node, facts in found for device in _of_node(node, facts, on)]
    if not devices:
        what = "CPUs: start a node with --num-cpus" if on == "cpu" else "GPUs: take --device cpu"
        raise RuntimeUnavailable(f"the cluster offers no {what}")
    kinds = {(device.kind, device.cores) for device in devices}
    if len(kinds) > 1:
        words = "; ".join(f"{kind}, {cores} cores" for kind, cores in sorted(kinds))
        keep = "--num-cpus 0" if on == "cpu" else "--num-gpus 0"
        raise RuntimeUnavailable(
            f"the cluster's devices differ, and so would their figures: {words}; start the others with {keep}"
        )
    return tuple(devices)


def _of_node(node: Node, facts: Facts, on: str) -> list[Device]:
    if on == "cpu":
        return [Device(node.id, node.name, facts.cpu, node.cpus)] if node.cpus else []
    if not node.gpus:
        return []
    cores = node.cpus // node.gpus
    if not cores:
        raise RuntimeUnavailable(
            f"{node.name} offers {node.gpus} GPUs and {node.cpus} CPUs: each GPU wants a core of its own"
        )
    kind = node.accelerator or "GPU"
    return [Device(node.id, node.name, kind, cores, gpus=1, number=n) for n in range(node.gpus)]
