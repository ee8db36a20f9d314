"""A bench in a process of its own: ``python -m ptprof.profile.worker FD`` obeys, `WorkerBench` commands.

One process per runtime keeps what one does to its process (threads, allocators, memory) away from the
others, and a candidate that takes its process down from everything but itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from ptprof.errors import MeasurementError, PtprofError
from ptprof.profile.bench import Info, LocalBench, Prepared, Setup
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.scenarios import Scenario
from ptprof.records import EnergyBreakdown, ModelRecord, Window
from ptprof.runtimes.threads import spin_briefly

#: What the other side may ask for.
VERBS = ("prepare", "warm_up", "window", "idle")
#: How long (s) a worker may take to end after it was told to.
PATIENCE_S = 10.0
_OUT_OF_MEMORY_KILL = signal.SIGKILL


class WorkerDied(PtprofError):
    """The worker process has ended by itself."""


class WorkerBench:
    """A bench in a child process; an error there is raised here, and the child's end is WorkerDied.

    The child is in a session of its own: an interrupt from the keyboard reaches this process alone. It ends
    when this process does.
    """

    def __init__(self, setup: Setup) -> None:
        ours, theirs = socket.socketpair()
        environ = dict(os.environ)
        spin_briefly(environ)
        # What it writes is read only if it dies; what the study shows goes through the connection.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115, closed when the worker ends
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ptprof.profile.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                env=environ,
            )
        self._connection = Connection(ours.detach())
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

    def prepare(self, run: ModelRecord, scenario: Scenario) -> Prepared:
        prepared: Prepared = self._ask("prepare", run, scenario)
        return prepared

    def warm_up(self, run: ModelRecord, scenario: Scenario, seconds: float) -> int:
        calls: int = self._ask("warm_up", run, scenario, seconds)
        return calls

    def window(self, run: ModelRecord, scenario: Scenario, protocol: MeasuringProtocol) -> Window:
        window: Window = self._ask("window", run, scenario, protocol)
        return window

    def idle(self, seconds: float) -> tuple[float, EnergyBreakdown]:
        taken: tuple[float, EnergyBreakdown] = self._ask("idle", seconds)
        return taken

    def _ask(self, verb: str, *arguments: Any) -> Any:
        try:
            self._connection.send((verb, arguments))
            answer, error = self._connection.recv()
        except (EOFError, ConnectionError):
            raise WorkerDied(self._last_words()) from None
        if error is not None:
            raise error
        return answer

    def _last_words(self) -> str:
        """How the process ended: by which signal or status, and the last line it wrote."""
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            return "the worker closed its connection"
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if status == -_OUT_OF_MEMORY_KILL:
            return "the worker was killed: most likely the machine ran out of memory"
        ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return f"the worker died with {ended}" + (f": {last}" if last else "")

    def _end(self, patience_s: float) -> None:
        """Let the worker go; it ends when its connection does, or is killed after ``patience_s``."""
        self._connection.close()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


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
    main(Connection(int(sys.argv[1])))
