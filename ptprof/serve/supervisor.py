"""A server in a process of its own, started anew when it dies: native code can take it down."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ptprof.errors import PtprofError, StudyError

logger = logging.getLogger("ptprof.serve")

#: A process that lived so long (s) does not count among those that died in a row.
SETTLED_S = 60.0
MOST_DEATHS = 5


def supervise(module: str, settings: object, listener: socket.socket) -> None:
    """Run ``python -m module`` on ``listener`` until this process is told to stop, and again when it dies.

    The socket stays open meanwhile: who connects while the process is started anew waits, and is answered.
    ``module`` gets ``(settings, file descriptor)`` pickled on its standard input, which stays open as long as
    this process lives; an error of ours it gives back pickled on its standard output.

    Raises
    ------
    PtprofError : the process's own, or that it died several times in a row
    """
    deaths = 0
    with _Stop() as stop:
        while not stop.asked:
            begun = time.monotonic()
            code, error = _run(module, settings, listener, stop)
            if error is not None:
                raise error
            if code == 0 or stop.asked:
                return
            deaths = 1 if time.monotonic() - begun > SETTLED_S else deaths + 1
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
            if deaths == MOST_DEATHS:
                raise StudyError(f"the server's process ended {how}, {deaths} times in a row")
            logger.error("the server's process ended %s: it is started anew", how)


class _Stop:
    """Whether this process was told to stop; passes it on to the process that there is."""

    def __init__(self) -> None:
        self.asked = False
        self.process: subprocess.Popen[bytes] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._told) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _told(self, _: int, __: FrameType | None) -> None:
        if self.process is not None:
            # Who asks twice does not want to wait for what is in flight.
            self.process.send_signal(signal.SIGKILL if self.asked else signal.SIGTERM)
        self.asked = True


def _run(
    module: str, settings: object, listener: socket.socket, stop: _Stop
) -> tuple[int, PtprofError | None]:
    """One life of the process: its exit status, and the error that it ended with."""
    descriptor = listener.fileno()
    with subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(descriptor,),
        # An interrupt from the keyboard reaches this process alone.
        start_new_session=True,
    ) as process:
        stop.process = process
        if stop.asked:
            process.send_signal(signal.SIGTERM)
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            pickle.dump((settings, descriptor), process.stdin)
            process.stdin.flush()
        said = process.stdout.read()
        code = process.wait()
        stop.process = None
    return code, pickle.loads(said) if said else None


@contextlib.contextmanager
def supervised() -> Iterator[tuple[Any, socket.socket]]:
    """In the process: its settings and the socket; an error of ours goes back to who started it.

    When that has gone, this process is told to stop.
    """
    settings, descriptor = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_stop_when_alone, daemon=True).start()
    try:
        with socket.socket(fileno=descriptor) as listener:
            yield settings, listener
    except PtprofError as error:
        sys.stdout.buffer.write(pickle.dumps(error))
        sys.stdout.buffer.flush()


def _stop_when_alone() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)
