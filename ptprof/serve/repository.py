"""The models that are served: loaded, unloaded, and kept below a memory budget."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ptprof.errors import ProtocolError, PtprofError, UsageError, unknown
from ptprof.serve.limits import MIB
from ptprof.serve.model import VERSION, ServedModel, Source
from ptprof.serve.worker import Worker

logger = logging.getLogger("ptprof.serve")

# The protocol's words.
State = Literal["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]
UNLOADED = "unloaded"


@dataclass(eq=False)
class Entry:
    """A model by name: where it comes from, and its worker while it is in memory.

    ``model`` still describes it when it has been moved out of memory; ``used`` counts up with every request.
    """

    name: str
    source: Source
    state: State = "UNAVAILABLE"
    reason: str = "never loaded"
    worker: Worker | None = None
    model: ServedModel | None = None
    size_bytes: int = 0
    used: int = 0


class Repository:
    """Models by name, each with a worker of its own while it is loaded; used from one event loop.

    Parameters
    ----------
    memory_bytes : of the weights that may be in memory at once; None: no limit. Above it the models that
        were not asked for longest are moved out, and come back when they are asked for.
    start : makes the worker that opens a model
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        start: Callable[[str, Source], Worker],
        memory_bytes: int | None = None,
    ) -> None:
        self._entries = {name: Entry(name, source) for name, source in sources.items()}
        self._start = start
        self._memory_bytes = memory_bytes
        self._clock = itertools.count(1)
        self._changing = asyncio.Lock()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    @property
    def ready(self) -> bool:
        """Whether every model is loaded that was not unloaded on purpose."""
        return all(
            entry.state != "UNAVAILABLE" or entry.reason == UNLOADED for entry in self._entries.values()
        )

    def load_all(self) -> None:
        """Open every model once, before anybody is served; raises the PtprofError of the first that fails."""
        try:
            for entry in self._entries.values():
                self._check_budget(entry)
                for idle in self._to_make_room(entry) or ():
                    self._evict(idle)
                worker = self._start(entry.name, entry.source)
                self._loaded(entry, worker, worker.opened.result())
        except BaseException:
            self.close()
            raise

    def describe(self, name: str) -> ServedModel:
        """The model called ``name``; ProtocolError 404 where there is none, or it is not loaded."""
        entry = self._entry(name)
        if entry.model is None or entry.state in ("UNAVAILABLE", "UNLOADING"):
            raise ProtocolError(
                f"model {name!r} is not loaded: POST /v2/repository/models/{name}/load loads it", 404
            )
        return entry.model

    async def worker(self, name: str) -> Worker:
        """The worker of a model that is asked for, loaded again where it was moved out.

        Raises
        ------
        ProtocolError : 404 as `describe`; 503 where there is no room for it, or it cannot be opened any more
        """
        self.describe(name)
        entry = self._entry(name)
        entry.used = next(self._clock)
        if entry.worker is None:
            async with self._changing:
                if entry.worker is None:
                    await self._open(entry, 503)
        if entry.worker is None:
            raise ProtocolError(f"model {name!r} is not loaded", 404)
        return entry.worker

    async def load(self, name: str) -> None:
        """Open a model; one that is open already is opened anew, and replaced once that has gone well."""
        entry = self._entry(name)
        async with self._changing:
            before = entry.worker
            await self._open(entry, 400)
            if before is not None:
                before.close(drop=False)

    async def unload(self, name: str) -> None:
        """Close a model, when what it is doing is done."""
        entry = self._entry(name)
        async with self._changing:
            worker, entry.worker = entry.worker, None
            entry.state, entry.reason = "UNLOADING", ""
            if worker is not None:
                worker.close(drop=False)
                await asyncio.to_thread(worker.join)
            entry.state, entry.reason, entry.model = "UNAVAILABLE", UNLOADED, None
            logger.info("unloaded %s", name)

    def index(self) -> list[dict[str, str]]:
        """What ``POST /v2/repository/index`` answers."""
        return [
            {"name": entry.name, "version": VERSION, "state": entry.state, "reason": entry.reason}
            for entry in self._entries.values()
        ]

    def loaded(self) -> dict[str, Worker]:
        """The workers there are, by model."""
        return {name: entry.worker for name, entry in self._entries.items() if entry.worker is not None}

    def close(self) -> None:
        """Finish the steps that run, drop what waits, and close every model."""
        workers = self.loaded().values()
        for worker in workers:
            worker.close(drop=True)
        for worker in workers:
            worker.join()

    async def _open(self, entry: Entry, status: int) -> None:
        """Open ``entry``, with room made for it; where that fails it stays as it is."""
        before = entry.state, entry.reason
        try:
            self._check_budget(entry)
            idle = self._to_make_room(entry)
            if idle is None:
                raise ProtocolError(f"no memory for {entry.name!r} while the other models are busy", 503)
            for other in idle:
                self._evict(other)
            entry.state = "LOADING" if entry.worker is None else entry.state
            worker = self._start(entry.name, entry.source)
            self._loaded(entry, worker, await asyncio.wrap_future(worker.opened))
        except PtprofError as error:
            entry.state, entry.reason = before
            if entry.state == "UNAVAILABLE":
                entry.reason = str(error)
            if isinstance(error, ProtocolError):
                raise
            logger.error("%s cannot be loaded: %s", entry.name, error)
            raise ProtocolError(f"model {entry.name!r} cannot be loaded: {error}", status) from error

    def _loaded(self, entry: Entry, worker: Worker, model: ServedModel) -> None:
        entry.worker, entry.model = worker, model
        entry.size_bytes = entry.source.size_bytes
        entry.state, entry.reason = "READY", ""
        logger.info("loaded %s (%s)", entry.name, model.details.get("run", model.runner.runtime))

    def _evict(self, entry: Entry) -> None:
        """Move a model out of memory; it is still ready, and comes back when it is asked for."""
        worker, entry.worker = entry.worker, None
        entry.reason = "moved out of memory: loaded again when it is asked for"
        if worker is not None:
            worker.close(drop=False)
            worker.join()
        logger.info("moved %s out of memory", entry.name)

    def _to_make_room(self, entry: Entry) -> list[Entry] | None:
        """The idle models to move out for ``entry``, least recently used first; None: they are too few."""
        if self._memory_bytes is None:
            return []
        others = [e for e in self._entries.values() if e.worker is not None and e is not entry]
        idle = sorted((e for e in others if not _busy(e)), key=lambda e: e.used)
        excess = sum(e.size_bytes for e in others) + entry.source.size_bytes - self._memory_bytes
        out: list[Entry] = []
        while excess > 0:
            if not idle:
                return None
            out.append(idle.pop(0))
            excess -= out[-1].size_bytes
        return out

    def _check_budget(self, entry: Entry) -> None:
        size = entry.source.size_bytes
        if self._memory_bytes is not None and size > self._memory_bytes:
            raise UsageError(
                f"{entry.name} takes {size / MIB:,.0f} MiB, and the memory of all models is "
                f"limited to {self._memory_bytes / MIB:,.0f}"
            )

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise ProtocolError(str(unknown("model", name[:100], self._entries)), 404)
        return self._entries[name]


def _busy(entry: Entry) -> bool:
    return entry.worker is not None and entry.worker.admitted > 0
