"""A model as it is served: a runner, and what the protocol tells of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from ptprof.errors import UsageError
from ptprof.runtimes import Runner
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


@dataclass(frozen=True)
class ServedModel:
    """A runner and the shape ``(h, C, X, Y)`` of the states that it takes.

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
    def platform(self) -> str:
        return _PLATFORMS.get(self.runner.runtime, f"ptprof_{self.runner.runtime}")

    @property
    def state_bytes(self) -> int:
        """The size of one state."""
        return VALUE_BYTES * math.prod(self.state_shape)

    def outputs(self, rollout: bool) -> tuple[str, ...]:
        """The names of what a request can ask for; the first is what it gets when it names none."""
        return ROLLOUT_OUTPUTS if rollout else STEP_OUTPUTS

    def output_shape(self, name: str, batch: int, rollout_steps: int | None) -> tuple[int, ...]:
        """The shape of an output for ``batch`` states."""
        history, *frame = self.state_shape
        lead = {"next": (), "states": (rollout_steps or 0,), "state_out": (history,)}[name]
        return (batch, *lead, *frame)

    def max_batch(self, limits: Limits) -> int:
        """How many states one binary request can hold."""
        return max(1, (limits.max_request_bytes - _HEADER_BYTES) // self.state_bytes)


def metadata(name: str, model: ServedModel) -> dict[str, Any]:
    """What ``GET /v2/models/{name}`` answers; a dimension of -1 is the batch."""
    history, *frame = model.state_shape
    state, following = [-1, history, *frame], [-1, *frame]
    return {
        "name": name,
        "versions": [VERSION],
        "platform": model.platform,
        "inputs": [{"name": INPUT, "datatype": DATATYPE, "shape": state}],
        "outputs": [
            {"name": "next", "datatype": DATATYPE, "shape": following},
            {"name": "state_out", "datatype": DATATYPE, "shape": state},
        ],
    }


def config(name: str, model: ServedModel, limits: Limits) -> dict[str, Any]:
    """What ``GET /v2/models/{name}/config`` answers: Triton's ModelConfig, dimensions without the batch."""
    history, *frame = model.state_shape
    state = [history, *frame]
    return {
        "name": name,
        "platform": model.platform,
        "backend": _BACKENDS.get(model.runner.runtime, "pytorch"),
        "version_policy": {"specific": {"versions": [int(VERSION)]}},
        "max_batch_size": model.max_batch(limits),
        "input": [{"name": INPUT, "data_type": f"TYPE_{DATATYPE}", "dims": state}],
        "output": [
            {"name": "next", "data_type": f"TYPE_{DATATYPE}", "dims": frame},
            {"name": "state_out", "data_type": f"TYPE_{DATATYPE}", "dims": state},
        ],
        "instance_group": [
            {
                "name": name,
                "kind": "KIND_CPU" if model.runner.device == "cpu" else "KIND_GPU",
                "count": 1,
                "gpus": [] if model.runner.device == "cpu" else [_gpu_index(model.runner.device)],
            }
        ],
        "parameters": {key: {"string_value": value} for key, value in model.details.items()},
    }


def _gpu_index(device: str) -> int:
    return int(device.partition(":")[2] or 0)
