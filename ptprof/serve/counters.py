"""What a model has done so far, in the shape of Triton's statistics extension."""

from __future__ import annotations

import copy
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ptprof.serve.forecast import Timing
from ptprof.serve.model import VERSION


@dataclass
class Tally:
    """How often, and how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns

    def merge(self, other: Tally) -> None:
        self.count += other.count
        self.ns += other.ns

    def document(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass
class Compute:
    """The three parts of the work: to the device, the model, and back."""

    input: Tally = field(default_factory=Tally)
    infer: Tally = field(default_factory=Tally)
    output: Tally = field(default_factory=Tally)

    def add(self, timing: Timing) -> None:
        self.input.add(timing.input)
        self.infer.add(timing.infer)
        self.output.add(timing.output)

    def merge(self, other: Compute) -> None:
        self.input.merge(other.input)
        self.infer.merge(other.infer)
        self.output.merge(other.output)

    def document(self) -> dict[str, dict[str, int]]:
        return {
            "compute_input": self.input.document(),
            "compute_infer": self.infer.document(),
            "compute_output": self.output.document(),
        }


@dataclass
class Counts:
    """What a model has done for whom, in numbers that add up."""

    states: int = 0
    executions: int = 0
    last_ms: int = 0
    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    compute: Compute = field(default_factory=Compute)
    batches: defaultdict[int, Compute] = field(default_factory=lambda: defaultdict(Compute))

    def merge(self, other: Counts) -> None:
        """Take in what another server has counted of the same model."""
        self.states += other.states
        self.executions += other.executions
        self.last_ms = max(self.last_ms, other.last_ms)
        self.success.merge(other.success)
        self.fail.merge(other.fail)
        self.queue.merge(other.queue)
        self.compute.merge(other.compute)
        for size, compute in other.batches.items():
            self.batches[size].merge(compute)

    def document(self, name: str) -> dict[str, Any]:
        """One entry of ``model_stats``."""
        none = Tally().document()
        return {
            "name": name,
            "version": VERSION,
            "last_inference": self.last_ms,
            "inference_count": self.states,
            "execution_count": self.executions,
            "inference_stats": {
                "success": self.success.document(),
                "fail": self.fail.document(),
                "queue": self.queue.document(),
                **self.compute.document(),
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [
                {"batch_size": size, **compute.document()} for size, compute in sorted(self.batches.items())
            ],
        }


class Counters:
    """The inference requests of one model since the server began; used from several threads."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._lock = threading.Lock()

    def called(self, states: int, timing: Timing) -> None:
        """Count a call of the model: a step of ``states`` states."""
        with self._lock:
            self._counts.executions += 1
            self._counts.batches[states].add(timing)

    def served(self, states: int, timing: Timing, total_ns: int) -> None:
        """Count a request that was answered."""
        with self._lock:
            self._counts.states += states
            self._counts.last_ms = time.time_ns() // 1_000_000
            self._counts.success.add(total_ns)
            self._counts.queue.add(timing.queue)
            self._counts.compute.add(timing)

    def refused(self, total_ns: int) -> None:
        """Count a request that was not answered with a forecast."""
        with self._lock:
            self._counts.fail.add(total_ns)

    def counts(self) -> Counts:
        """What there is so far."""
        with self._lock:
            return copy.deepcopy(self._counts)
