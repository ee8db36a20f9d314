"""What can go wrong, and what a user sees of it.

PtprofError               exit 1: one line on stderr, no traceback
├── UsageError            exit 2: the command line asks for something that cannot be
├── DataError             a data file or folder that cannot be used as it is
│   └── UnresolvedFlow    a flow that the chosen grid cannot resolve
├── TableError            a table of costs that cannot be used as it is
├── StudyError            a study folder or one of its records
├── TrainingError         a training that cannot go on
├── ExportError           a model that cannot be exported
│   └── ParityError       an export that does not compute what was trained
├── MeasurementError      a candidate that cannot be measured
├── RuntimeUnavailable    a runtime, device or execution provider that is not here
├── EnergyError           a sensor that cannot be read
└── ProtocolError         a request that the server refuses; carries its HTTP status
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PtprofError(Exception):
    """Base of every error that ptprof raises on purpose; its text is what the user reads."""

    exit_code = 1


class UsageError(PtprofError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class DataError(PtprofError):
    """A data file or folder that cannot be used as it is."""


class UnresolvedFlow(DataError):
    """A flow that the chosen grid cannot resolve."""


class TableError(PtprofError):
    """A table of costs that cannot be used as it is."""


class StudyError(PtprofError):
    """A study folder, or a record in it, that cannot be used as it is."""


class TrainingError(PtprofError):
    """A training that cannot go on."""


class ExportError(PtprofError):
    """A model that cannot be exported."""


class ParityError(ExportError):
    """An exported model that does not compute what was trained."""


class MeasurementError(PtprofError):
    """A candidate that cannot be measured."""


class RuntimeUnavailable(PtprofError):
    """A runtime, device or execution provider that is not here."""


class EnergyError(PtprofError):
    """A sensor that cannot be read."""


class ProtocolError(PtprofError):
    """A request that the server refuses.

    Parameters
    ----------
    message : what the client reads in ``{"error": message}``
    status : the HTTP status to answer with
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known: lists what is, and suggests the nearest."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UsageError(f"unknown {kind} {name!r}{hint}; known: {', '.join(names)}")
