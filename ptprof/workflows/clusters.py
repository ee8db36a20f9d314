"""Where the stages of a sweep are carried out: here, or on the devices of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from ptprof.cluster import Executor
from ptprof.errors import UsageError
from ptprof.study import Study

ExecutorName = Literal["local", "ray"]
_DEVICES = {"auto": "auto", "cpu": "cpu", "cuda": "cuda", "cuda:0": "cuda"}


@contextmanager
def executor(
    name: ExecutorName, study: Study, *, address: str | None, device: str
) -> Iterator[Executor | None]:
    """The cluster at ``address`` for "ray", which sees the study; None for "local".

    Raises
    ------
    UsageError : an address without "ray", or a device of which each node has another
    RuntimeUnavailable, StudyError : as `ptprof.cluster.Executor`
    """
    if name == "local":
        if address is not None:
            raise UsageError("--address goes with --executor ray")
        yield None
        return
    if device not in _DEVICES:
        raise UsageError(f"on a cluster --device is auto, cpu or cuda, not {device!r}: Ray deals out GPUs")
    study.root.mkdir(parents=True, exist_ok=True)
    with Executor(study.root, address=address, on=_DEVICES[device]) as cluster:
        yield cluster
