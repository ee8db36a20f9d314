"""Models, runtimes and sensors that are not ptprof's own: registered by decorators, loaded when asked for.

A plugin is a Python file, or a module of an installed package, that registers something when it is imported.
It is named by `VARIABLE` in the environment, or by an entry point of `GROUP`.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Literal, TypeVar

from ptprof.errors import UsageError, unknown
from ptprof.plugins.importing import FAULTS, imported, in_words, is_file, quiet
from ptprof.records import PluginSource

T = TypeVar("T")
R = TypeVar("R", bound="Registered")

VARIABLE = "PTPROF_PLUGINS"
"""Files and dotted names, separated as the folders of PATH are."""

GROUP = "ptprof.plugins"

READS = ("onnx", "torchscript", "pt2")
"""What a runtime can read; None is for a module."""

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Registered:
    """Something that a plugin registered: its name, what makes it, and the file with its code."""

    kind: ClassVar[str]

    name: str
    make: Callable[..., Any]
    source: PluginSource


@dataclass(frozen=True)
class ModelPlugin(Registered):
    """A forecaster: ``make(in_channels, out_channels, grid)`` gives its `torch.nn.Module`."""

    kind = "model"

    learning_rate: float


@dataclass(frozen=True)
class RuntimePlugin(Registered):
    """A runtime: ``make`` is its class of `ptprof.runtimes.base.Runner`; what it reads, None for a module."""

    kind = "runtime"

    reads: str | None


@dataclass(frozen=True)
class SensorPlugin(Registered):
    """Sensors: ``make()`` gives those that are on this machine."""

    kind = "sensor"


@dataclass
class _Registry:
    """All that was registered in this process, by kind and name, and what was loaded."""

    found: dict[type[Registered], dict[str, Any]] = field(default_factory=dict)
    loaded: set[str] = field(default_factory=set)
    entries: tuple[metadata.EntryPoint, ...] | None = None
    lock: Any = field(default_factory=RLock)


_registry = _Registry()


def model(name: str, *, learning_rate: float) -> Callable[[T], T]:
    """Register a forecaster: decorates what makes its module.

    The decorated function, or class, takes ``(in_channels, out_channels, grid)`` and gives a
    `torch.nn.Module` that maps ``(B, in_channels, X, Y)`` to ``(B, out_channels, X, Y)``, standardised, on
    grids of ``(X, Y)`` points. It is called with the seed set, on the CPU.

    Parameters
    ----------
    name : lower-case letters, digits and hyphens
    learning_rate : the highest of the schedule, for Adam

    Raises
    ------
    UsageError : a name that cannot be, or that another plugin registered; a rate that is not positive
    """
    _check_name("model", name)
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UsageError(f"the learning rate of {name} must be positive, and is {learning_rate}")

    def register(make: Any) -> Any:
        return _add(ModelPlugin(name, make, _source(make), learning_rate=learning_rate))

    return register


def runtime(name: str, *, reads: Literal["onnx", "torchscript", "pt2"] | None) -> Callable[[T], T]:
    """Register a runtime: decorates its class of `ptprof.runtimes.base.Runner`.

    Parameters
    ----------
    name : lower-case letters, digits and hyphens; the class has it as ``runtime``
    reads : the format of the files that it runs; None where it runs a module. The class has it as ``reads``

    Raises
    ------
    UsageError : a name that cannot be, or that another plugin registered; a format that is not known
    """
    _check_name("runtime", name)
    if reads is not None and reads not in READS:
        raise unknown("format", reads, READS)

    def register(make: Any) -> Any:
        make.runtime, make.reads = name, reads
        return _add(RuntimePlugin(name, make, _source(make), reads=reads))

    return register


def sensor(find: T) -> T:
    """Register sensors: decorates a function that gives those on this machine, none where there are none."""
    made: Any = find
    _add(SensorPlugin(made.__name__, made, _source(made)))
    return find


def models(taken: Collection[str] = ()) -> dict[str, ModelPlugin]:
    """The forecasters of all plugins, by name, as they were registered; names in ``taken`` are refused.

    Raises
    ------
    UsageError : a plugin that is not there or that fails, or a name that is taken
    """
    return _all(ModelPlugin, taken)


def runtimes(taken: Collection[str] = ()) -> dict[str, RuntimePlugin]:
    """The runtimes of all plugins, as `models`."""
    return _all(RuntimePlugin, taken)


def sensors() -> tuple[SensorPlugin, ...]:
    """The finders of sensors of all plugins, as they were registered; UsageError as `models`."""
    return tuple(_all(SensorPlugin).values())


def registered() -> tuple[Registered, ...]:
    """All that plugins registered, whatever it is; UsageError as `models`."""
    return (*models().values(), *runtimes().values(), *sensors())


def announce(places: Sequence[str] = ()) -> None:
    """Name plugins to this process and to those that it starts, after what the environment names already.

    Files are named by their absolute path: a process that runs in another folder finds them too.

    Raises
    ------
    UsageError : a file that is not there, or whose path holds what separates paths
    """
    named = [_absolute(place) for place in (*_named(), *places)]
    if named:
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(named))


def _absolute(place: str) -> str:
    path = Path(place)
    if path.suffix != ".py":
        return place
    if not path.is_file():
        raise UsageError(f"the plugin {path} is not there")
    absolute = str(path.resolve())
    if os.pathsep in absolute:
        raise UsageError(f"the plugin {path} cannot be named to others: its path holds {os.pathsep!r}")
    return absolute


def _named() -> list[str]:
    return [place for place in os.environ.get(VARIABLE, "").split(os.pathsep) if place]


def _all(of: type[R], taken: Collection[str] = ()) -> dict[str, R]:
    with _registry.lock:
        for place, load in _places():
            # Before it is loaded: a plugin may ask for what there is while it is.
            if place in _registry.loaded:
                continue
            _registry.loaded.add(place)
            try:
                with quiet():
                    load()
            except FAULTS as error:
                _registry.loaded.discard(place)
                raise UsageError(f"the plugin {place} cannot be imported: {in_words(error)}") from error
            except UsageError as error:
                _registry.loaded.discard(place)
                words = str(error)
                named = words.startswith(place)
                raise UsageError(f"the plugin {words if named else f'{place}: {words}'}") from error
        found = dict(_registry.found.get(of, {}))
    for name, one in found.items():
        if name in taken:
            raise UsageError(
                f"the plugin {one.source.name} registers a {of.kind} {name!r}, which is ptprof's own"
            )
    return found


def _places() -> Iterator[tuple[str, Callable[[], object]]]:
    """What names a plugin, and what loads it."""
    for place in _named():
        yield place, partial(imported, _absolute(place))
    if _registry.entries is None:
        # Looked for once: it reads what every installed package says of itself.
        _registry.entries = tuple(metadata.entry_points(group=GROUP))
    for entry in _registry.entries:
        yield entry.value, entry.load


def _add(one: Registered) -> Any:
    with _registry.lock:
        names = _registry.found.setdefault(type(one), {})
        other = names.get(one.name)
        # The same file may be run again; only another's name is a clash.
        if other is not None and other.make.__module__ != one.make.__module__:
            both = f"{other.source.name} and {one.source.name}"
            raise UsageError(f"two plugins register a {one.kind} {one.name!r}: {both}")
        names[one.name] = one
    return one.make


def _check_name(kind: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(f"a {kind} cannot be called {name!r}: take lower-case letters, digits and hyphens")


def _source(made: Any) -> PluginSource:
    """The file in which ``made`` is written: the name of the file, or of the module of a package."""
    module = sys.modules.get(made.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise UsageError(
            f"{made.__name__} is written in no file: a plugin is one, so that its digest is known"
        )
    name = Path(file).name if is_file(module) else module.__name__
    return PluginSource(name=name, sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest())
