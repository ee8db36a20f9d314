"""The running total of what was answered, kept in the study for `ptprof amortise --queries served`."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

from ptprof.amortise.volume import SERVED
from ptprof.records import ServedModelTotal, ServedRecord
from ptprof.serve.forecast import Task
from ptprof.serve.price import Cost
from ptprof.study import Study, now, write_record

logger = logging.getLogger("ptprof.serve")

WRITE_EVERY_S = 10.0


@dataclass
class _Total:
    requests: int = 0
    steps: int = 0
    energy_j: float = 0.0
    co2eq_g: float = 0.0
    unmetered: int = 0

    def record(self, model: str, run: str) -> ServedModelTotal:
        return ServedModelTotal(
            model=model,
            run=run,
            requests=self.requests,
            steps=self.steps,
            energy_j=self.energy_j,
            co2eq_g=self.co2eq_g,
            unmetered_requests=self.unmetered,
        )


class Served:
    """Counts in memory, written every few seconds and at the end, whole or not at all.

    Every server has a file of its own, so that several of one study, and studies of several machines, add up
    without getting in each other's way. A server that is killed loses the last seconds.
    """

    def __init__(self, study: Study) -> None:
        self._started = now()
        stamp = self._started.replace(":", "").partition("+")[0]
        self.path: Path = study.root / SERVED / f"{stamp}-{uuid.uuid4().hex[:8]}.json"
        self._totals: dict[tuple[str, str], _Total] = {}
        self._dirty = False
        self._lock = threading.Lock()

    def answered(self, model: str, run: str, task: Task, cost: Cost) -> None:
        """Count a request, or what was computed of a stream before its client left."""
        with self._lock:
            total = self._totals.setdefault((model, run), _Total())
            total.requests += 1
            total.steps += task.size * task.done
            if cost.energy_j is None or cost.co2eq_g is None:
                total.unmetered += 1
            else:
                total.energy_j += cost.energy_j
                total.co2eq_g += cost.co2eq_g
            self._dirty = True

    def record(self) -> ServedRecord:
        """What there is so far."""
        with self._lock:
            return ServedRecord(
                started=self._started,
                updated=now(),
                models=tuple(total.record(*key) for key, total in sorted(self._totals.items())),
            )

    def write(self) -> None:
        """Write what there is, if that is news; a full disk does not stop the service."""
        with self._lock:
            news, self._dirty = self._dirty, False
        if not news:
            return
        try:
            write_record(self.path, self.record())
        except OSError as error:
            self._dirty = True
            logger.error("the running total could not be written to %s: %s", self.path, error.strerror)

    async def keep(self) -> None:
        """Write again and again, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await asyncio.to_thread(self.write)
