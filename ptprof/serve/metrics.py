"""What Prometheus reads at ``/metrics``, per model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ptprof.serve.forecast import Task
from ptprof.serve.price import Cost
from ptprof.serve.worker import Call, Worker

#: From a step of a small model to a long rollout (s).
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100, 300)
STATES = (1, 2, 4, 8, 16, 32, 64)
NS = 1e-9

MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Histograms and counters of one server, in a registry of its own.

    Parameters
    ----------
    workers : gives the workers there are, by model
    """

    def __init__(self, workers: Callable[[], dict[str, Worker]]) -> None:
        self._registry = registry = CollectorRegistry()
        model = ["model"]
        self._requests = Counter(
            "ptprof_requests", "Inference requests", ["model", "status"], registry=registry
        )
        self._duration = Histogram(
            "ptprof_request_duration_seconds",
            "From a request's headers to its answer",
            model,
            buckets=SECONDS,
            registry=registry,
        )
        self._queue = Histogram(
            "ptprof_queue_duration_seconds",
            "Waiting for the model, in all of a request",
            model,
            buckets=SECONDS,
            registry=registry,
        )
        self._compute = Histogram(
            "ptprof_compute_duration_seconds",
            "One call of the model",
            model,
            buckets=SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "ptprof_batch_states", "States in one call of the model", model, buckets=STATES, registry=registry
        )
        self._steps = Counter("ptprof_steps", "Forecast steps, of each state", model, registry=registry)
        self._joules = Counter(
            "ptprof_energy_joules", "Energy of what was answered", ["model", "source"], registry=registry
        )
        self._grams = Counter(
            "ptprof_co2eq_grams", "Emissions of what was answered", ["model", "source"], registry=registry
        )
        registry.register(_Now(workers))

    def called(self, name: str, call: Call) -> None:
        """Count a call of a model."""
        self._compute.labels(name).observe(call.timing.infer * NS)
        self._batch.labels(name).observe(call.states)

    def answered(self, name: str, task: Task, cost: Cost, total_ns: int) -> None:
        """Count a request that was answered with all that it asked for."""
        self._requests.labels(name, 200).inc()
        self._duration.labels(name).observe(total_ns * NS)
        self._queue.labels(name).observe(task.timing.queue * NS)
        self._steps.labels(name).inc(task.size * task.done)
        if cost.energy_j is not None and cost.co2eq_g is not None:
            self._joules.labels(name, cost.source).inc(cost.energy_j)
            self._grams.labels(name, cost.source).inc(cost.co2eq_g)

    def refused(self, name: str, status: int) -> None:
        """Count a request that was not."""
        self._requests.labels(name, status).inc()

    def families(self, labels: Mapping[str, str]) -> tuple[Metric, ...]:
        """What there is so far, with ``labels`` besides."""
        found = tuple(self._registry.collect())
        for family in found:
            family.samples = [s._replace(labels={**s.labels, **labels}) for s in family.samples]
        return found


def text(families: Iterable[Metric]) -> bytes:
    """Families as Prometheus reads them; those of one name, of several servers, become one."""
    merged: dict[str, Metric] = {}
    for family in families:
        one = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        one.samples.extend(family.samples)
    registry = CollectorRegistry()
    registry.register(_Collected(list(merged.values())))
    return generate_latest(registry)


class _Collected(Collector):
    """What was collected already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Now(Collector):
    """What is true at the moment of asking."""

    def __init__(self, workers: Callable[[], dict[str, Worker]]) -> None:
        self._workers = workers

    def collect(self) -> Iterable[GaugeMetricFamily]:
        workers = self._workers()
        admitted = GaugeMetricFamily(
            "ptprof_requests_in_progress", "Requests that wait or run", labels=["model"]
        )
        for name, worker in workers.items():
            admitted.add_metric([name], worker.admitted)
        yield admitted
        yield GaugeMetricFamily("ptprof_models_loaded", "Models in memory", value=len(workers))
