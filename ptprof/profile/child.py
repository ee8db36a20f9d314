"""A child process that runs one of our modules, and a socket to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

from ptprof.runtimes.threads import spin_briefly

#: How long (s) a child may take to end.
PATIENCE_S = 10.0
_OUT_OF_MEMORY_KILL = signal.SIGKILL


class Child:
    """``python -m MODULE FD``, FD being its end of a socket.

    The child is in a session of its own: an interrupt from the keyboard reaches this process alone.

    Attributes
    ----------
    process : the child
    socket : our end; whoever takes it closes it
    spawned_s : when it was asked for, s on the monotonic clock
    """

    def __init__(self, module: str) -> None:
        self.socket, theirs = socket.socketpair()
        environ = dict(os.environ)
        spin_briefly(environ)
        # What it writes is read only if it dies; what counts comes through the socket.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115, closed when the child ends
        with theirs:
            self.spawned_s = time.monotonic()
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                env=environ,
            )

    def last_words(self, who: str) -> str:
        """How the child, ``who`` in words, ended: by which signal or status, and the last line it wrote."""
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            return f"{who} closed its connection"
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if status == -_OUT_OF_MEMORY_KILL:
            return f"{who} was killed: most likely the machine ran out of memory"
        ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return f"{who} died with {ended}" + (f": {last}" if last else "")

    def end(self, patience_s: float) -> None:
        """Wait for the child's end, and kill it after ``patience_s``."""
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()
