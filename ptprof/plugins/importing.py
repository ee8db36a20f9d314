"""Running other people's Python: a file or a module by name, with what goes wrong in it told in one line."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ptprof.errors import UsageError

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What goes wrong in other people's code, to be told in one line."""

FILE = "ptprof_file_"
"""What the names of modules that are a file begin with: none clashes with a library's, or another file's."""


def imported(place: str) -> ModuleType:
    """The Python module ``place``, a dotted name or a file; as by `python -m`, the working folder counts.

    Raises
    ------
    UsageError : a file that is not there, or code that fails
    """
    path = Path(place)
    try:
        if path.suffix != ".py":
            with _searching(Path.cwd()):
                return importlib.import_module(place)
        if not path.is_file():
            raise UsageError(f"{path} is not there")
        name = f"{FILE}{path.stem}_{hashlib.sha256(bytes(path.resolve())).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(name, path.resolve())
        if spec is None or spec.loader is None:
            raise UsageError(f"{path} is no Python file")
        # Classes find their own module by name, such as dataclasses do while they are made.
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        with _searching(path.resolve().parent):
            spec.loader.exec_module(module)
    except FAULTS as error:
        raise UsageError(f"{place} cannot be imported: {in_words(error)}") from error
    return module


def is_file(module: ModuleType) -> bool:
    """Whether `imported` made ``module`` of a file; others are known by a dotted name."""
    return module.__name__.startswith(FILE)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Other people's code without its side effects: it prints, changes the warning filters, imports wandb."""
    masked = "wandb" not in sys.modules
    if masked:
        sys.modules["wandb"] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if masked:
            del sys.modules["wandb"]


def in_words(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _searching(folder: Path) -> Iterator[None]:
    """Python looks for modules in ``folder`` too."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
