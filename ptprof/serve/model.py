"""A model as it is served: a runner, where it comes from, and what the protocol tells of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, Self

from ptprof.errors import ProtocolError, UsageError
from ptprof.runtimes import Runner
from ptprof.runtimes.metadata import NOISE
from ptprof.serve.batching import Batching
from ptprof.serve.limits import Limits

VERSION = "1"
DATATYPE = "FP32"
INPUT = "state"
STEP_OUTPUTS = ("next", "state_out")
ROLLOUT_OUTPUTS = ("states", "state_out")
VALUE_BYTES = 4

# Triton's names for what runs a file; it has none for a module in eager mode.
_PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "torchscript": "pytorch_libtorch"}
_BACKENDS = {"onnxruntime": "onnxruntime"}
# Room for the JSON that stands before the tensor in a binary request.
_HEADER_BYTES = 1024


class Source(Protocol):
    """Where a model comes from: it may be opened, closed, and opened again."""

    @property
    def size_bytes(self) -> int:
        """How much memory its weights take, as far as that is known before it is opened."""

    def open(self) -> ServedModel:
        """Open it, on the thread that is to use it; raises a PtprofError that says why it cannot be."""

    def close(self, model: ServedModel) -> None:
        """Let go of what `open` gave."""


@dataclass(frozen=True)
class ServedModel:
    """A runner and the shape ``(h, C, X, Y)`` of the states that it takes.

    As a `Source` it is always open, for who made it to close.

    Attributes
    ----------
    details : what else is worth telling about the model, by name; shown in its config
    """

    runner: Runner
    state_shape: tuple[int, int, int, int]
    details: dict[str, str]

    @classmethod
    def of(cls, runner: Runner, **details: str) -> Self:
        """A model whose runner says what it takes; UsageError where it does not."""
        if runner.state_shape is None:
            raise UsageError(
                f"this {runner.runtime} runner does not say which states it takes: export it again"
            )
        said = {"runtime": runner.runtime, "provider": runner.provider, "device": runner.device}
        if runner.metadata is not None:
            said["units"] = ", ".join(f"{name}: {unit}" for name, unit in runner.metadata.units.items())
        return cls(runner, runner.state_shape, said | details)

    @property
    def size_bytes(self) -> int:
        return 0

    def open(self) -> ServedModel:
        return self

    def close(self, model: ServedModel) -> None:
        """Nothing: see above."""

    @property
    def platform(self) -> str:
        return _PLATFORMS.get(self.runner.runtime, f"ptprof_{self.runner.runtime}")

    @property
    def backend(self) -> str:
        return _BACKENDS.get(self.runner.runtime, "pytorch")

    @property
    def takes_noise(self) -> bool:
        return self.runner.takes_noise

    @property
    def state_bytes(self) -> int:
        """The size of one state."""
        return VALUE_BYTES * math.prod(self.state_shape)

    def inputs(self) -> dict[str, list[int]]:
        """What it takes, with shapes that leave out the batch."""
        history, *frame = self.state_shape
        return {INPUT: [history, *frame]} | ({NOISE: frame} if self.takes_noise else {})

    def outputs(self, rollout: bool) -> tuple[str, ...]:
        """The names of what a request can ask for; the first is what it gets when it names none."""
        return ROLLOUT_OUTPUTS if rollout else STEP_OUTPUTS

    def output_shape(self, name: str, batch: int, kept: int) -> tuple[int, ...]:
        """The shape of an output for ``batch`` states, of which a rollout keeps ``kept`` each."""
        history, *frame = self.state_shape
        lead = {"next": (), "states": (kept,), "state_out": (history,)}[name]
        return (batch, *lead, *frame)

    def max_batch(self, batching: Batching, limits: Limits) -> int:
        """How many states one request may hold: as many as a batch, if a binary body has room for them."""
        room = (limits.max_request_bytes - _HEADER_BYTES) // self.state_bytes
        return max(1, min(room, batching.max_batch_size))


def check_version(name: str, version: str | None) -> None:
    """Raise ProtocolError 404 for a version that the model does not have; None: no version was named."""
    if version not in (None, VERSION):
        raise ProtocolError(f"model {name!r} has no version {version[:100]!r}: it has {VERSION!r}", 404)


def metadata(name: str, model: ServedModel) -> dict[str, Any]:
    """What ``GET /v2/models/{name}`` answers; a dimension of -1 is the batch."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": model.platform,
        "inputs": [_tensor(name, shape) for name, shape in model.inputs().items()],
        "outputs": [_tensor(name, list(model.output_shape(name, 1, 0))[1:]) for name in STEP_OUTPUTS],
    }


def config(name: str, model: ServedModel, batching: Batching, limits: Limits) -> dict[str, Any]:
    """What ``GET /v2/models/{name}/config`` answers: Triton's ModelConfig, dimensions without the batch."""
    device = model.runner.device
    kind = f"TYPE_{DATATYPE}"
    optional = {NOISE: {"optional": True}}
    return {
        "name": name,
        "platform": model.platform,
        "backend": model.backend,
        "version_policy": {"specific": {"versions": [int(VERSION)]}},
        "max_batch_size": model.max_batch(batching, limits),
        "input": [
            {"name": name, "data_type": kind, "dims": dims} | optional.get(name, {})
            for name, dims in model.inputs().items()
        ],
        "output": [
            {"name": name, "data_type": kind, "dims": list(model.output_shape(name, 1, 0))[1:]}
            for name in STEP_OUTPUTS
        ],
        "dynamic_batching": {
            "preferred_batch_size": list(batching.preferred_batch_size),
            "max_queue_delay_microseconds": batching.max_queue_delay_microseconds,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "allow_timeout_override": True,
                "max_queue_size": limits.max_queue,
            },
        },
        "instance_group": [
            {
                "name": name,
                "kind": "KIND_CPU" if device == "cpu" else "KIND_GPU",
                "count": 1,
                "gpus": [] if device == "cpu" else [int(device.partition(":")[2] or 0)],
            }
        ],
        "parameters": {key: {"string_value": value} for key, value in model.details.items()},
    }


def _tensor(name: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPE, "shape": [-1, *shape]}
