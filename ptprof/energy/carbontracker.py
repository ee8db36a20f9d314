"""Carbontracker's opinion of a board's energy, to compare with published figures; never a figure of record.

It takes board power once a second (on current boards each sample is itself the mean of the second before)
and multiplies its mean by the time. It can end the process that it runs in, reports by log lines alone, and
asks a web service where it is: so it runs in a process of its own, is told when to begin and to end, and what
it found is read from its (private) fields, which is why its version is fixed. Its power usage effectiveness
of 1.58 is divided out. `ptprof.energy.carbontracker_main` is that process.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from ptprof.energy.nvml import Board, Nvml
from ptprof.energy.power import power_usage
from ptprof.energy.visible import GpuName, chosen
from ptprof.errors import EnergyError, UsageError
from ptprof.records import Value

#: The version whose private fields are known.
VERSION = "2.4.7"
INTERVAL_S = 1.0
#: How long (s) to wait for it to begin (it imports pandas), and for an answer.
BEGIN_S = 120.0
ANSWER_S = 60.0


class Opinion(Value):
    """What Carbontracker says one stretch of time took.

    ``joules`` is without its ``pue``; None where it has no figure, and ``missing`` says why. ``samples`` is
    how often it took the board's power, ``board`` the board's UUID.
    """

    joules: float | None = None
    pue: float | None = None
    samples: int = 0
    duration_s: float | None = None
    board: str | None = None
    version: str = VERSION
    missing: str | None = None


class Carbontracker:
    """Carbontracker in a process of its own, while the context lasts.

        with Carbontracker([0]) as tracker:
            tracker.start()
            work()
            opinion = tracker.stop()

    What it cannot do is a reason in `Opinion.missing` and never an error: its end is nobody else's.

    Parameters
    ----------
    gpus : one board, by visible index or UUID: of several it gives their mean where their sum was meant
    interval_s : how often it takes the power, s
    """

    def __init__(self, gpus: Sequence[GpuName], interval_s: float = INTERVAL_S) -> None:
        if not 0.01 <= interval_s <= 60:
            raise UsageError(f"Carbontracker samples every 0.01 to 60 s, not every {interval_s} s")
        self._gpus = gpus
        self._interval_s = interval_s
        self._board: Board | None = None
        self._missing: str | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        self._missing = unavailable()
        if self._missing is None:
            try:
                self._board = _board(self._gpus)
            except EnergyError as error:
                self._missing = str(error)
        if self._board is not None:
            self._begin(self._board)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()
            self._process.kill()
            self._process.wait()
            self._output.close()
            self._connection = None

    def start(self) -> None:
        """Begin to track."""
        self._ask("start", ANSWER_S)

    def stop(self) -> Opinion:
        """End it; what was found since `start`."""
        found = self._ask("stop", ANSWER_S)
        board = None if self._board is None else self._board.uuid
        if found is None:
            return Opinion(board=board, missing=self._missing)
        return Opinion(board=board, **found)

    def _begin(self, board: Board) -> None:
        ours, theirs = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115, closed with the context
        module = [sys.executable, "-m", "ptprof.energy.carbontracker_main"]
        with theirs:
            self._process = subprocess.Popen(
                [*module, str(theirs.fileno()), str(self._interval_s)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                # It knows boards by the driver's numbers, and takes all of them where it is given UUIDs.
                env={**os.environ, "CUDA_VISIBLE_DEVICES": str(board.index)},
            )
        self._connection = Connection(ours.detach())
        self._answer(BEGIN_S)

    def _ask(self, verb: str, patience_s: float) -> dict[str, Any] | None:
        """What the process answers; None where it does not, and from then on."""
        if self._missing is not None or self._connection is None:
            return None
        try:
            self._connection.send(verb)
        except ConnectionError:
            self._missing = self._last_words()
            return None
        return self._answer(patience_s)

    def _answer(self, patience_s: float) -> dict[str, Any] | None:
        if self._connection is None:
            return None
        try:
            if self._connection.poll(patience_s):
                found: dict[str, Any] = self._connection.recv()
                return found
            self._missing = f"Carbontracker has not answered for {patience_s:g} s"
        except (EOFError, ConnectionError):
            self._missing = self._last_words()
        return None

    def _last_words(self) -> str:
        """How the process ended, and the last line it wrote."""
        try:
            status = self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            return "Carbontracker does not answer"
        if status < 0:
            return f"Carbontracker was ended by signal {signal.Signals(-status).name}"
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no word")
        return f"Carbontracker ended itself with status {status}: {last}"


def unavailable() -> str | None:
    """Why Carbontracker cannot be asked here; None where its version is the one that is known."""
    try:
        version = metadata.version("carbontracker")
    except metadata.PackageNotFoundError:
        return f"Carbontracker is not installed: pip install carbontracker=={VERSION}"
    if version == VERSION:
        return None
    return f"Carbontracker {version} is not the version that is known: pip install carbontracker=={VERSION}"


def _board(gpus: Sequence[GpuName]) -> Board:
    """The one board to track, which the driver must give the power of.

    Raises
    ------
    EnergyError : there is none, or more than one, or it tells no power
    """
    if not gpus:
        raise EnergyError("Carbontracker is asked for GPUs alone, and none is metered")
    with Nvml() as nvml:
        boards = chosen(nvml.boards(), gpus)
        if len(boards) > 1:
            raise EnergyError("Carbontracker gives the mean of several GPUs where their sum is meant")
        (board,) = boards
        if board.unusable is not None:
            raise EnergyError(board.unusable)
        power_usage(board)
        return board
