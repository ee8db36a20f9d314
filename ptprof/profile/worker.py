"""A bench in a process of its own: ``python -m ptprof.profile.worker FD`` obeys, `WorkerBench` commands.

One process per runtime keeps what one does to its process (threads, allocators, memory) away from the
others, and a candidate that takes its process down from everything but itself.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from ptprof.errors import MeasurementError, PtprofError
from ptprof.profile.bench import Info, LocalBench, Prepared, Setup
from ptprof.profile.child import PATIENCE_S, Child
from ptprof.profile.parent import die_with_parent
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.scenarios import Scenario
from ptprof.records import Idle, Model, Window

#: What the other side may ask for.
VERBS = ("prepare", "warm_up", "window", "idle")


class WorkerDied(PtprofError):
    """The worker process has ended by itself."""


class WorkerBench:
    """A bench in a child process; an error there is raised here, and the child's end is WorkerDied.

    It ends when this process does.
    """

    def __init__(self, setup: Setup) -> None:
        self._child = Child("ptprof.profile.worker")
        self._process = self._child.process
        self._connection = Connection(self._child.socket.detach())
        try:
            self.info: Info = self._ask("open", setup)
        except BaseException:
            self._end(patience_s=0.0)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(patience_s=PATIENCE_S if error is None else 0.0)

    def prepare(self, run: Model, scenario: Scenario) -> Prepared:
        prepared: Prepared = self._ask("prepare", run, scenario)
        return prepared

    def warm_up(self, run: Model, scenario: Scenario, protocol: MeasuringProtocol) -> int:
        calls: int = self._ask("warm_up", run, scenario, protocol)
        return calls

    def window(self, run: Model, scenario: Scenario, protocol: MeasuringProtocol, number: int) -> Window:
        window: Window = self._ask("window", run, scenario, protocol, number)
        return window

    def idle(self, seconds: float) -> Idle:
        idle: Idle = self._ask("idle", seconds)
        return idle

    def _ask(self, verb: str, *arguments: Any) -> Any:
        try:
            self._connection.send((verb, arguments))
            answer, error = self._connection.recv()
        except (EOFError, ConnectionError):
            raise WorkerDied(self._child.last_words("the worker")) from None
        if error is not None:
            raise error
        return answer

    def _end(self, patience_s: float) -> None:
        """Let the worker go; it ends when its connection does, or is killed after ``patience_s``."""
        self._connection.close()
        self._child.end(patience_s)


def main(connection: Connection) -> None:
    """Open the bench that is asked for first, then obey until the other side goes."""
    try:
        _verb, (setup,) = connection.recv()
        try:
            bench = LocalBench(setup)
        except PtprofError as error:
            connection.send((None, error))
            return
        with bench:
            connection.send((bench.info, None))
            while True:
                verb, arguments = connection.recv()
                connection.send(_obey(bench, verb, arguments))
    except (EOFError, ConnectionError):
        return


def _obey(bench: LocalBench, verb: str, arguments: tuple[Any, ...]) -> tuple[Any, PtprofError | None]:
    """The answer, or the error that the candidate has made; anything else takes this process down."""
    if verb not in VERBS:
        raise ValueError(f"a bench has no verb {verb!r}")
    try:
        return getattr(bench, verb)(*arguments), None
    except PtprofError as error:
        return None, error
    except MemoryError:
        return None, MeasurementError("out of memory")
    except RuntimeError as error:
        # torch's word for what a device cannot do, its lack of memory included; the rest is its traceback.
        return None, MeasurementError(str(error).split("\n", maxsplit=1)[0])


if __name__ == "__main__":
    # Nothing that a library writes may reach the connection.
    os.set_inheritable(int(sys.argv[1]), False)
    die_with_parent()
    main(Connection(int(sys.argv[1])))
