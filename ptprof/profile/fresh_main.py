"""What a fresh process does: ``python -m ptprof.profile.fresh_main FD`` loads one model and answers.

It takes one job as a line of JSON from the socket FD and says a line for each part that is done: when that
was, on the system's monotonic clock, and how many CPU seconds this process has taken since it began.
`ptprof.profile.fresh` is the other side. Nothing is imported before it is needed, for importing is one of the
parts.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ptprof.errors import PtprofError
from ptprof.profile.parent import die_with_parent
from ptprof.runtimes import runner_class

if TYPE_CHECKING:
    from torch import Tensor

    from ptprof.runtimes import Runner


def so_far() -> tuple[float, float]:
    """The system's monotonic clock (s), and CPU seconds: this process's, and its children's that have ended.

    As `ptprof.energy.cpu.cpu_seconds`, which is not to be imported yet: what compiles starts a compiler.
    """
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), time.process_time() + ended.ru_utime + ended.ru_stime


STARTED = so_far()
"""When this process came to its first line of ours."""


class Channel:
    """Lines of JSON, both ways."""

    def __init__(self, descriptor: int) -> None:
        # One file for each way: of one for both, writing throws away what has been read ahead.
        with socket.socket(fileno=descriptor) as ends:
            self._heard = ends.makefile("r", encoding="utf-8")
            self._said = ends.makefile("w", encoding="utf-8")

    def receive(self) -> dict[str, Any]:
        """The next line; EOFError where the other side has gone."""
        line = self._heard.readline()
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        return message

    def say(self, **message: Any) -> None:
        """Write a line."""
        self._said.write(json.dumps(message) + "\n")
        self._said.flush()

    def close(self) -> None:
        """End both ways."""
        self._heard.close()
        self._said.close()

    def wait(self, part: str) -> None:
        """Wait for the other side, which closes a window or opens one; say when it is over."""
        self.receive()
        self.done(part)

    def done(self, part: str, at: tuple[float, float] | None = None, /, **facts: Any) -> None:
        """Say that a part is done, by default just now."""
        at_s, cpu_s = at or so_far()
        self.say(part=part, at_s=at_s, cpu_s=cpu_s, **facts)


def obey(channel: Channel, job: dict[str, Any]) -> None:
    """Do one job, part by part; raises PtprofError for what the model cannot do."""
    channel.done("start", STARTED)
    die_with_parent()
    runner_class(job["runtime"])
    if job["file"] is None or job["whole_split"]:
        import_module("ptprof.export.artifact")
        import_module("ptprof.profile.split")
    channel.done("import")
    if job["whole_split"]:
        channel.wait("begin")
    with _open(job) as runner:
        if job["whole_split"]:
            _answer_all(channel, job, runner)
        else:
            _answer_one(channel, job, runner)


def _open(job: dict[str, Any]) -> Runner:
    from ptprof.runtimes import open_runner

    settings = {key: job[key] for key in ("device", "threads", "precision", "tf32")}
    if job["file"] is not None:
        return open_runner(job["runtime"], job["file"], **settings)
    from ptprof.export.artifact import open_model
    from ptprof.study import Study

    study = Study(job["study"])
    return open_model(study, study.deployable(job["run"]), job["runtime"], nfe=job["nfe"], **settings)


def _answer_one(channel: Channel, job: dict[str, Any], runner: Runner) -> None:
    import numpy as np
    import torch

    channel.done("load", provider=runner.provider, nfe=runner.nfe)
    state = torch.from_numpy(np.load(job["state"])).to(runner.device)
    query = runner.bind(state)
    runner.synchronize()
    channel.done("prepare")
    query()
    runner.synchronize()
    channel.done("first_query")
    channel.wait("again")
    query()
    runner.synchronize()
    channel.done("next_query")
    channel.done("end", **_peaks(job))


def _answer_all(channel: Channel, job: dict[str, Any], runner: Runner) -> None:
    channel.done("load", provider=runner.provider, nfe=runner.nfe)
    latencies_s: list[float] = []
    for state in _states(job):
        begun = time.perf_counter()
        query = runner.bind(state.to(runner.device), job["steps"])
        query()
        runner.synchronize()
        latencies_s.append(time.perf_counter() - begun)
    channel.done("queries", latencies_s=latencies_s)
    channel.done("end", **_peaks(job))


def _states(job: dict[str, Any]) -> Iterator[Tensor]:
    from ptprof.profile.split import WholeSplit
    from ptprof.study import Study

    study = Study(job["study"])
    asked = WholeSplit(study, study.named(job["run"]))
    return asked.windows() if job["steps"] is None else asked.starts()


def _peaks(job: dict[str, Any]) -> dict[str, int | None]:
    """Peak memory of this process, of which all is the candidate's."""
    from ptprof.profile.memory import HostMemory, device_memory

    board = device_memory(job["runtime"], job["device"])
    return {"peak_host_bytes": HostMemory().peak(), "peak_device_bytes": board.peak() if board else None}


def main(descriptor: int) -> None:
    """Take a job and do it; what it cannot do is said in a line."""
    # Nothing that a library starts may hold the socket open.
    os.set_inheritable(descriptor, False)
    with closing(Channel(descriptor)) as channel:
        _answer(channel)


def _answer(channel: Channel) -> None:
    try:
        obey(channel, channel.receive())
    except PtprofError as error:
        channel.say(error=str(error))
    except MemoryError:
        channel.say(error="out of memory")
    except RuntimeError as error:
        # torch's word for what a device cannot do, its lack of memory included; the rest is its traceback.
        channel.say(error=str(error).split("\n", maxsplit=1)[0])


if __name__ == "__main__":
    main(int(sys.argv[1]))
