"""An ONNX file, by ONNX Runtime, which reads and writes torch's memory in place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from torch import Tensor

from ptprof.environment import cores
from ptprof.errors import RuntimeUnavailable, StudyError
from ptprof.runtimes.base import Frames, Runner, closed
from ptprof.runtimes.cuda_graph import wanted
from ptprof.runtimes.graph import checked_graph, metadata_of
from ptprof.runtimes.metadata import NEXT, NOISE, STATE, STATE_OUT, Signature
from ptprof.runtimes.noise import Noise

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


NO_GRAPH = -1
MOST_GRAPHS = 256
"""CUDA graphs of one session, which keeps each for as long as it lives."""


class OnnxRuntimeRunner(Runner):
    """A step exported as an ``.onnx``: ``state``, and ``noise`` if it takes some, to ``next``, ``state_out``.

    Every query binds the session to the memory of torch tensors, so that nothing is copied; a rollout
    lets two windows take turns as input and output, and writes each state into its frame. On a GPU a file for
    one size of a batch runs as CUDA graphs, which take shapes and addresses that are fixed.
    """

    runtime: ClassVar[str] = "onnxruntime"

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        tf32: bool = False,
    ) -> None:
        super().__init__(device)
        check_precision(precision)
        if not path.is_file():
            raise StudyError(f"{path} is not there")
        session = open_session(path, self.device, threads, tf32=tf32)
        self.describe(metadata_of(path, session.get_modelmeta().custom_metadata_map))
        self._ids: Iterator[int] | None = None
        if self.batch is not None and wanted(torch.device(self.device)):
            session = open_session(path, self.device, threads, tf32=tf32, graphs=True)
            self._ids = itertools.chain(range(1, MOST_GRAPHS + 1), itertools.repeat(NO_GRAPH))
        taken = {tensor.name: tensor.shape for tensor in session.get_inputs()}
        given = [tensor.name for tensor in session.get_outputs()]
        self.state_shape = checked_graph(path, self.metadata, taken, given)
        self.takes_noise = NOISE in taken
        self.providers = tuple(session.get_providers())
        self.provider = f"{self.providers[0]} tf32" if tf32 else self.providers[0]
        self._session: ort.InferenceSession | None = session

    def bind(self, state: Tensor, steps: int | None = None, noise: Tensor | None = None) -> OnnxRuntimeQuery:
        if self._session is None:
            raise closed(self.runtime)
        state = self.checked(state, steps)
        noises = self.noise(state, steps, noise)
        return OnnxRuntimeQuery(self._session, state, steps, noises, self.signature, self._ids)

    def step(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        query = self.bind(state, noise=noise)
        query()
        return query.result, query.state_out

    def close(self) -> None:
        self._session = None


class OnnxRuntimeQuery:
    """A query on ONNX Runtime: one binding per step, made once, over buffers that stay where they are.

    ``ids`` gives a number to each CUDA graph of the session, None where it has none. A graph holds the
    addresses that it was captured with, so that each binding has its own; it is captured when the query is
    asked again, since many a query is asked but once.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        state: Tensor,
        steps: int | None,
        noise: Noise,
        signature: Signature | None = None,
        ids: Iterator[int] | None = None,
    ) -> None:
        self._session = session
        self._noise = noise
        self._frames = Frames(state, steps, signature)
        self._state = state
        self._bindings = []
        self._ids = ids
        self._options = [None if ids is None else _graph_option(NO_GRAPH)] * (steps or 1)
        self._asked = False
        if signature is not None:
            frame = next(iter(self._frames))
            self._bindings.append(_binding(session, {signature.input: state}, {signature.output: frame}))
            self.state_out = state
            return
        self._windows = [torch.empty_like(state) for _ in range(min(steps or 1, 2))]
        source = state
        for index, (frame, extra) in enumerate(zip(self._frames, noise.arguments, strict=True)):
            target = self._windows[index % 2]
            inputs = dict(zip((STATE, NOISE), (source, *extra), strict=False))
            self._bindings.append(_binding(session, inputs, {NEXT: frame, STATE_OUT: target}))
            source = target
        self.state_out = source

    def __call__(self) -> None:
        self._noise.renew()
        if self._state.is_cuda:
            # The session has a stream of its own, and its inputs may still be on their way on torch's.
            torch.cuda.current_stream(self._state.device).synchronize()
        if self._asked and self._ids is not None:
            self._options, self._ids = [_graph_option(next(self._ids)) for _ in self._bindings], None
        self._asked = True
        for binding, option in zip(self._bindings, self._options, strict=True):
            self._session.run_with_iobinding(binding, option)

    @property
    def result(self) -> Tensor:
        return self._frames.result


def check_precision(precision: str) -> None:
    """RuntimeUnavailable for what ONNX Runtime does not compute in."""
    if precision != "fp32":
        raise RuntimeUnavailable(
            f"ONNX Runtime runs these files in fp32, not {precision}: --runtime openvino runs the same file"
            " in bf16, on a CPU that has it"
        )


def open_session(
    path: Path, device: str, threads: int | None, *, tf32: bool = False, graphs: bool = False
) -> ort.InferenceSession:
    """A session on ``device`` and nowhere else; with ``graphs`` every node must be on the GPU.

    Raises
    ------
    RuntimeUnavailable : the execution provider of the device is not here. ONNX Runtime itself would go on
        with the CPU, without a word.
    StudyError : the file is not a model that it can run
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    if graphs:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # Its log goes to stderr past Python; what matters of it comes as an exception.
    ort.set_default_logger_severity(4)
    options.log_severity_level = 4
    wanted, *rest = providers(device, tf32=tf32, graphs=graphs)
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


def providers(device: str, *, tf32: bool = False, graphs: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """The execution providers for ``device``, each with its options, the one that is meant first.

    Behind CUDA stands the CPU, for the few nodes that compute shapes; with ``graphs`` there must be none.
    TF32 keeps ten bits, and ONNX Runtime itself would take it.
    """
    if device == "cpu":
        return [(CPU, {})]
    options: dict[str, Any] = {"device_id": torch.device(device).index or 0, "use_tf32": int(tf32)}
    return [(CUDA, {**options, "enable_cuda_graph": 1})] if graphs else [(CUDA, options), (CPU, {})]


def _graph_option(number: int) -> ort.RunOptions:
    """Run as the CUDA graph of that number, captured when it is first asked for; `NO_GRAPH` for none."""
    option = ort.RunOptions()
    option.add_run_config_entry("gpu_graph_id", str(number))
    return option


def _unavailable(provider: str) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"ONNX Runtime {ort.__version__} cannot use {provider} here: it needs onnxruntime-gpu, and the CUDA "
        "and cuDNN that it was built for; use --device cpu or another runtime"
    )


def _binding(
    session: ort.InferenceSession, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> Any:
    binding = session.io_binding()
    device = next(iter(inputs.values())).device
    kind, index = device.type, device.index or 0
    for name, tensor in inputs.items():
        binding.bind_input(name, kind, index, np.float32, tuple(tensor.shape), tensor.data_ptr())
    for name, tensor in outputs.items():
        binding.bind_output(name, kind, index, np.float32, tuple(tensor.shape), tensor.data_ptr())
    return binding
