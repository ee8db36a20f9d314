"""What is told of requests: Triton's statistics, Prometheus' metrics, the study's running total."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import Metric

from ptprof.serve.counters import Counters, Counts
from ptprof.serve.forecast import Task
from ptprof.serve.ledger import Ledger
from ptprof.serve.metrics import Metrics, text
from ptprof.serve.model import ServedModel
from ptprof.serve.price import Cost, Price
from ptprof.serve.served import Served
from ptprof.serve.worker import Call, Worker


@dataclass(frozen=True)
class Snapshot:
    """What one server has counted so far: by model, and for Prometheus."""

    counts: dict[str, Counts]
    families: tuple[Metric, ...]


class Telemetry:
    """Tells what each request cost, and passes it on to who keeps count.

    Parameters
    ----------
    names : of the models; requests for others are counted nowhere, or anybody could make up names
    workers : gives the workers there are, by model
    served : the running total of a study; None: none is kept
    """

    def __init__(
        self,
        names: Iterable[str],
        workers: Callable[[], dict[str, Worker]],
        *,
        ledger: Ledger,
        price: Price,
        served: Served | None,
    ) -> None:
        self._counters = {name: Counters() for name in names}
        self._metrics = Metrics(workers)
        self._ledger = ledger
        self._price = price
        self._served = served

    def called(self, name: str, call: Call) -> None:
        """A model was called; told on its worker's thread."""
        self._counters[name].called(call.states, call.timing)
        self._metrics.called(name, call)

    def cost(self, model: ServedModel, task: Task) -> Cost:
        """What ``task`` has cost so far."""
        return self._price.cost(self._ledger.energy(task.spent), model.runner.device)

    def answered(self, name: str, model: ServedModel, task: Task, total_ns: int) -> Cost:
        """A request was computed to its end; gives what it cost."""
        cost = self.cost(model, task)
        self._counters[name].served(task.size, task.timing, total_ns)
        self._metrics.answered(name, task, cost, total_ns)
        self._keep(name, model, task, cost)
        return cost

    def refused(self, name: str, status: int, total_ns: int) -> None:
        """A request was answered with an error, or its client had gone."""
        self._counters[name].refused(total_ns)
        self._metrics.refused(name, status)

    def left(self, name: str, model: ServedModel, task: Task) -> None:
        """A client left a stream: what it was sent was served all the same."""
        self._keep(name, model, task, self.cost(model, task))

    def snapshot(self, **labels: str) -> Snapshot:
        """What there is so far; ``labels`` tell this server's metrics from those of others."""
        counts = {name: counters.counts() for name, counters in self._counters.items()}
        return Snapshot(counts, self._metrics.families(labels))

    def _keep(self, name: str, model: ServedModel, task: Task, cost: Cost) -> None:
        if self._served is not None:
            self._served.answered(name, model.details.get("run", ""), task, cost)


def statistics(snapshots: Sequence[Snapshot], names: Iterable[str]) -> dict[str, Any]:
    """What ``GET …/stats`` answers, of all servers together."""
    stats: list[dict[str, Any]] = []
    for name in names:
        total = Counts()
        for snapshot in snapshots:
            # While an app is replaced, some serve models that others do not.
            total.merge(snapshot.counts.get(name, Counts()))
        stats.append(total.document(name))
    return {"model_stats": stats}


def metrics(snapshots: Sequence[Snapshot]) -> bytes:
    """What ``GET /metrics`` answers, of each server by itself."""
    return text(family for snapshot in snapshots for family in snapshot.families)
