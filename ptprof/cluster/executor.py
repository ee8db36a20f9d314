"""Letting the devices of a cluster work, and going on where one is lost."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, Self, TypeVar

from ptprof.cluster import remote
from ptprof.cluster.connection import start
from ptprof.cluster.devices import Device, Facts, Node, check, devices_of
from ptprof.cluster.running import Running, Work, first_line
from ptprof.errors import PtprofError, RuntimeUnavailable

T = TypeVar("T")

#: How long (s) a node may take to start a process and answer.
PATIENCE_S = 120.0
#: Of this process's environment, what work on a node has too; never a secret: Ray shows it to its users.
_PREFIX, _NAMES, _SECRET = "PTPROF_", ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"), "PTPROF_TOKEN"


class Executor:
    """The devices of a cluster, which all see the folder ``shared``.

    Parameters
    ----------
    shared : a folder that is there
    address : the cluster's, as `ptprof.cluster.start` takes it
    on : "cpu", "cuda", or "auto" for GPUs where there are any

    Attributes
    ----------
    devices : of one kind
    on : "cpu" or "cuda"

    Raises
    ------
    RuntimeUnavailable : on entering: no Ray, no device, devices or versions that differ
    StudyError : on entering: a node that does not see the folder
    """

    devices: tuple[Device, ...]

    def __init__(self, shared: Path, *, address: str | None = None, on: str = "auto") -> None:
        self._shared = shared.resolve()
        self._address = address
        self.on = on
        self._seen: set[str] = set()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # A node's end is told on the standard output by Ray, in twenty lines.
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(start(self._address))
            nodes = self._nodes()
            self._seen = {node.id for node in nodes}
            if self.on == "auto":
                self.on = "cuda" if any(node.gpus for node in nodes) else "cpu"
            self._here, found = self._look(nodes)
            check(self._here, found, str(self._shared))
            self.devices = devices_of(found, self.on)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def everywhere(self, ask: Callable[[], T]) -> list[T]:
        """What ``ask`` gives on each node that has a device."""
        import ray

        nodes = dict.fromkeys(device.node for device in self.devices)
        asked = [self._on(node, ray.remote(ask), num_cpus=0).remote() for node in nodes]
        answers: list[T] = ray.get(asked, timeout=PATIENCE_S)
        return answers

    def run(
        self,
        work: Work[T],
        items: Sequence[T],
        *,
        deal: Callable[[Sequence[T], int], Sequence[Sequence[T]]],
        hear: Callable[[Device, Any], None],
        left: Callable[[Device, Sequence[T]], Sequence[T]],
    ) -> list[tuple[T, str]]:
        """Let the devices work until all is done; each takes the next share when it is free.

        Parameters
        ----------
        work : called on a device, in a process of its own, with a share and what tells events to here
        deal : shares of the items, the first to be begun first, for so many devices
        hear : takes what a device tells
        left : what of a share is not done; asked when the device, or the process that worked there, is lost.
            That is dealt anew, to the devices that are left and those that have joined

        Returns
        -------
        the items that were lost too often, or that no device is left for, and why

        Raises
        ------
        PtprofError : as ``work`` raises it; the others are stopped then
        """
        running = Running(self, work, deal=deal, hear=hear, left=left)
        return running.until_done(items)

    def begin(self, device: Device, work: Work[T], items: Sequence[T]) -> Any:
        """Let a device work on items, or wait for it to be free; a stream of references to what it tells."""
        import ray
        from ray import cloudpickle

        task = ray.remote(max_calls=1, max_retries=0, num_returns="streaming")(remote.carry_out)
        payload = cloudpickle.dumps((work, items))
        # All CPUs of the node, or the GPU: who asks for the device too, from another sweep, waits for it.
        return self._on(device.node, task, num_cpus=device.cores, num_gpus=device.gpus).remote(
            payload, device.cores
        )

    def _on(self, node: str, task: Any, **resources: Any) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node, soft=False)
        return task.options(
            scheduling_strategy=there, runtime_env={"env_vars": _travelling(os.environ)}, **resources
        )

    def _nodes(self) -> list[Node]:
        """The nodes that are alive, in an order that is always the same."""
        import ray

        return sorted((_node(one) for one in ray.nodes() if one["Alive"]), key=lambda node: node.id)

    def _look(self, nodes: Sequence[Node]) -> tuple[Facts, list[tuple[Node, Facts]]]:
        """What is found here, and by a process on each node that offers anything."""
        import ray
        from ray import exceptions

        offering = [node for node in nodes if node.cpus or node.gpus]
        with _token(self._shared) as token:
            look = ray.remote(max_retries=0)(remote.look)
            asked = [self._on(node.id, look, num_cpus=0).remote(token) for node in offering]
            found = []
            for node, answer in zip(offering, asked, strict=True):
                try:
                    found.append((node, ray.get(answer, timeout=PATIENCE_S)))
                except (exceptions.NodeDiedError, exceptions.TaskUnschedulableError):
                    continue  # It has died just now.
                except exceptions.RayError as error:
                    raise RuntimeUnavailable(f"{node.name} cannot run ptprof: {first_line(error)}") from None
            return remote.look(token), found

    def joined(self) -> list[Device]:
        """The devices of nodes that have joined, as far as they are like the others."""
        new = [node for node in self._nodes() if node.id not in self._seen]
        if not new:
            return []
        self._seen |= {node.id for node in new}
        try:
            _, found = self._look(new)
            check(self._here, found, str(self._shared))
            joined = devices_of(found, self.on)
        except PtprofError:
            return []
        alike = (self.devices[0].kind, self.devices[0].cores)
        return [device for device in joined if (device.kind, device.cores) == alike]


@contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """A file in a folder, by which others show that they see the same folder."""
    with NamedTemporaryFile(dir=folder, prefix=".seen-by-all-") as file:
        yield Path(file.name)


def _node(said: dict[str, Any]) -> Node:
    offers = said["Resources"]
    accelerators = [name.partition(":")[2] for name in offers if name.startswith("accelerator_type:")]
    return Node(
        id=said["NodeID"],
        name=f"node {said['NodeManagerAddress']} ({said['NodeID'][:6]})",
        cpus=int(offers.get("CPU", 0)),
        gpus=int(offers.get("GPU", 0)),
        accelerator=accelerators[0] if accelerators else "",
    )


def _travelling(environ: Mapping[str, str]) -> dict[str, str]:
    """What of this process's environment goes with the work."""
    return {
        name: value
        for name, value in environ.items()
        if (name.startswith(_PREFIX) and name != _SECRET) or name in _NAMES
    }
