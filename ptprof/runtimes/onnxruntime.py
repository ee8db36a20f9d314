"""An ONNX file, by ONNX Runtime, which reads and writes torch's memory in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from torch import Tensor

from ptprof.environment import cores
from ptprof.errors import RuntimeUnavailable, StudyError
from ptprof.runtimes.base import Frames, Runner, StateShape, closed
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.noise import NOISE, Noise

INPUT = "state"
OUTPUTS = ("next", "state_out")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# ONNX Runtime's exceptions share no base of their own.
_INVALID = (ort_errors.InvalidGraph, ort_errors.InvalidProtobuf, ort_errors.NoModel)
_FAILED = (
    *_INVALID,
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)


class OnnxRuntimeRunner(Runner):
    """A step exported as an ``.onnx``: ``state``, and ``noise`` if it takes some, to ``next``, ``state_out``.

    Every query binds the session to the memory of torch tensors, so that nothing is copied; a rollout
    lets two windows take turns as input and output, and writes each state into its frame.
    """

    runtime: ClassVar[str] = "onnxruntime"

    def __init__(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> None:
        super().__init__(device)
        if not path.is_file():
            raise StudyError(f"{path} is not there")
        session = open_session(path, self.device, threads)
        taken, given = [
            [tensor.name for tensor in side] for side in (session.get_inputs(), session.get_outputs())
        ]
        if taken not in ([INPUT], [INPUT, NOISE]) or tuple(given) != OUTPUTS:
            raise StudyError(
                f"{path} is not a forecast step: it takes {', '.join(taken)} and gives {', '.join(given)}"
            )
        try:
            self.metadata = Metadata.from_properties(session.get_modelmeta().custom_metadata_map)
        except ValueError as error:
            raise StudyError(
                f"{path} holds metadata that cannot be read: export it again with --force"
            ) from error
        self.state_shape = _state_shape(session, path)
        if self.metadata is not None and self.metadata.state_shape != self.state_shape:
            raise StudyError(
                f"{path} says that it takes {self.metadata.state_shape}, and takes {self.state_shape}"
            )
        self.takes_noise = NOISE in taken
        self.nfe = self.metadata.nfe if self.metadata is not None else None
        self.provider = session.get_providers()[0]
        self._session: ort.InferenceSession | None = session

    def bind(self, state: Tensor, steps: int | None = None, noise: Tensor | None = None) -> OnnxRuntimeQuery:
        if self._session is None:
            raise closed(self.runtime)
        state = self.checked(state, steps)
        return OnnxRuntimeQuery(self._session, state, steps, self.noise(state, steps, noise))

    def step(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        query = self.bind(state, noise=noise)
        query()
        return query.result, query.state_out

    def close(self) -> None:
        self._session = None


class OnnxRuntimeQuery:
    """A query on ONNX Runtime: one binding per step, made once, over buffers that stay where they are."""

    def __init__(self, session: ort.InferenceSession, state: Tensor, steps: int | None, noise: Noise) -> None:
        self._session = session
        self._noise = noise
        self._frames = Frames(state, steps)
        self._windows = [torch.empty_like(state) for _ in range(min(steps or 1, 2))]
        self._state = state
        self._bindings = []
        source = state
        for index, (frame, extra) in enumerate(zip(self._frames, noise.arguments, strict=True)):
            target = self._windows[index % 2]
            self._bindings.append(_binding(session, (source, *extra), (frame, target)))
            source = target
        self.state_out = source

    def __call__(self) -> None:
        self._noise.renew()
        if self._state.is_cuda:
            # The session has a stream of its own, and its inputs may still be on their way on torch's.
            torch.cuda.current_stream(self._state.device).synchronize()
        for binding in self._bindings:
            self._session.run_with_iobinding(binding)

    @property
    def result(self) -> Tensor:
        return self._frames.result


def open_session(path: Path, device: str, threads: int | None) -> ort.InferenceSession:
    """A session on ``device`` and nowhere else.

    Raises
    ------
    RuntimeUnavailable : the execution provider of the device is not here. ONNX Runtime itself would go on
        with the CPU, without a word.
    StudyError : the file is not a model that it can run
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    # Its log goes to stderr past Python; what matters of it comes as an exception.
    ort.set_default_logger_severity(4)
    options.log_severity_level = 4
    wanted, *rest = providers(device)
    try:
        session = ort.InferenceSession(path, options, providers=[wanted, *rest], enable_fallback=0)
    except _FAILED as error:
        if device != "cpu" and not isinstance(error, _INVALID):
            raise _unavailable(wanted[0]) from error
        raise StudyError(
            f"{path} is cut or not an ONNX file that can be run: export it again with --force"
        ) from error
    if session.get_providers()[0] != wanted[0]:
        raise _unavailable(wanted[0])
    return session


def providers(device: str) -> list[tuple[str, dict[str, Any]]]:
    """The execution providers for ``device``, each with its options, the one that is meant first.

    Behind CUDA stands the CPU, for the few nodes that compute shapes. TF32 is off: it keeps ten bits.
    """
    if device == "cpu":
        return [(CPU, {})]
    return [(CUDA, {"device_id": torch.device(device).index or 0, "use_tf32": 0}), (CPU, {})]


def _state_shape(session: ort.InferenceSession, path: Path) -> StateShape:
    """What the file's input has behind the batch: four sizes, all of them fixed."""
    match session.get_inputs()[0].shape:
        case [_, int(history), int(channels), int(x), int(y)]:
            return history, channels, x, y
        case shape:
            raise StudyError(f"{path} is not a forecast step: its input has the shape {shape}")


def _unavailable(provider: str) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"ONNX Runtime {ort.__version__} cannot use {provider} here: it needs onnxruntime-gpu, and the CUDA "
        "and cuDNN that it was built for; use --device cpu or another runtime"
    )


def _binding(session: ort.InferenceSession, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Any:
    binding = session.io_binding()
    kind, index = inputs[0].device.type, inputs[0].device.index or 0
    for name, tensor in zip((INPUT, NOISE), inputs, strict=False):
        binding.bind_input(name, kind, index, np.float32, tuple(tensor.shape), tensor.data_ptr())
    for name, tensor in zip(OUTPUTS, outputs, strict=True):
        binding.bind_output(name, kind, index, np.float32, tuple(tensor.shape), tensor.data_ptr())
    return binding
