"""An ONNX file, by OpenVINO on the CPU: fp32, or bfloat16 where the processor computes with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ptprof.environment import cores
from ptprof.errors import RuntimeUnavailable, StudyError
from ptprof.runtimes.base import Frames, Runner, closed
from ptprof.runtimes.device import resolve_device
from ptprof.runtimes.graph import checked_graph, metadata_of
from ptprof.runtimes.metadata import NOISE

_TELEMETRY = "openvino_telemetry"


def _openvino() -> Any:
    """The package, imported without its telemetry.

    Its import would count it in a file of the user's home and send an event to Google Analytics. It does
    without where the package that does so cannot be imported, which is why it cannot be for that moment.
    """
    hidden = _TELEMETRY not in sys.modules
    if hidden:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
        import openvino.frontend
    except ImportError as error:
        raise RuntimeUnavailable("OpenVINO is not installed: pip install 'ptprof[openvino]'") from error
    finally:
        if hidden:
            del sys.modules[_TELEMETRY]
    return openvino


ov = _openvino()

DEVICE = "CPU"
HINTS = {"fp32": "f32", "bf16": "bf16"}
NAMES = {"f32": "OpenVINO CPU", "bf16": "OpenVINO CPU bf16"}
MOST_COMPILED = 4
"""Sizes of a batch that stay compiled; each has the weights laid out anew."""

_FAILED = (
    RuntimeError,
    ov.frontend.GeneralFailure,
    ov.frontend.InitializationFailure,
    ov.frontend.NotImplementedFailure,
    ov.frontend.OpConversionFailure,
    ov.frontend.OpValidationFailure,
)


class OpenVinoRunner(Runner):
    """A step exported as an ``.onnx``, compiled for each size of a batch when it is first met.

    OpenVINO optimises a graph of fixed shapes further, and cannot run all of ours without. Queries read and
    write torch's memory; in a rollout two windows take turns.
    """

    runtime: ClassVar[str] = "openvino"

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        tf32: bool = False,
    ) -> None:
        super().__init__(on_cpu(device))
        check_precision(precision)
        if not path.is_file():
            raise StudyError(f"{path} is not there")
        self._path = path
        self._settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads or cores(),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._model: Any = _read(path)
        said = self._model.rt_info["framework"] if self._model.has_rt_info("framework") else {}
        self.describe(metadata_of(path, {key: value.astype(str) for key, value in said.items()}))
        taken = {port.get_any_name(): _shape(port) for port in self._model.inputs}
        given = [port.get_any_name() for port in self._model.outputs]
        self.state_shape = checked_graph(path, self.metadata, taken, given)
        self.takes_noise = NOISE in taken
        self._compiled: dict[int, Any] = {}
        self.provider = self._provider(self.batch or 1)

    def bind(self, state: Tensor, steps: int | None = None, noise: Tensor | None = None) -> OpenVinoQuery:
        if self._model is None:
            raise closed(self.runtime)
        state = self.checked(state, steps)
        return OpenVinoQuery(self, state.detach(), steps, noise)

    def step(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        query = self.bind(state, noise=noise)
        query()
        return query.result, query.state_out

    def close(self) -> None:
        self._model = None
        self._compiled.clear()

    def compiled(self, batch: int) -> Any:
        """The model for batches of that size."""
        if batch not in self._compiled:
            if len(self._compiled) == MOST_COMPILED:
                self._compiled.pop(next(iter(self._compiled)))
            model = self._model.clone()
            model.reshape({port: [batch, *_shape(port)[1:]] for port in model.inputs})
            try:
                self._compiled[batch] = ov.Core().compile_model(model, DEVICE, self._settings)
            except _FAILED as error:
                raise _not_ours(self._path) from error
        return self._compiled[batch]

    def _provider(self, batch: int) -> str:
        """What OpenVINO says that it computes in."""
        really = self.compiled(batch).get_property("INFERENCE_PRECISION_HINT").to_string()
        return NAMES[really]


class OpenVinoQuery:
    """A query on OpenVINO: one request, bound at each step to the tensors of that step."""

    def __init__(
        self, runner: OpenVinoRunner, state: Tensor, steps: int | None, noise: Tensor | None
    ) -> None:
        self._noise = runner.noise(state, steps, noise)
        self._frames = Frames(state, steps, runner.signature)
        self._request = runner.compiled(len(state)).create_infer_request()
        self._steps: list[tuple[list[Any], list[Any]]] = []
        # Two that take turns; what is no step has no window to pass on.
        self._windows = [state.new_empty(state.shape) for _ in range(min(steps or 1, 2))]
        source = state
        for index, (frame, extra) in enumerate(zip(self._frames, self._noise.arguments, strict=True)):
            inputs = [source, *extra]
            outputs = [frame]
            if runner.signature is None:
                source = self._windows[index % 2]
                outputs.append(source)
            self._steps.append(([_shared(t) for t in inputs], [_shared(t) for t in outputs]))
        self.state_out = source

    def __call__(self) -> None:
        self._noise.renew()
        request = self._request
        for inputs, outputs in self._steps:
            for index, tensor in enumerate(inputs):
                request.set_input_tensor(index, tensor)
            for index, tensor in enumerate(outputs):
                request.set_output_tensor(index, tensor)
            request.infer()

    @property
    def result(self) -> Tensor:
        return self._frames.result


def on_cpu(device: str) -> str:
    """``device``, where it is the CPU; RuntimeUnavailable for a GPU."""
    if resolve_device(device) != "cpu":
        raise RuntimeUnavailable("OpenVINO runs on the CPU only: use --device cpu, or onnxruntime on a GPU")
    return "cpu"


def check_precision(precision: str) -> None:
    """RuntimeUnavailable for bf16 on a processor that would only imitate it."""
    if precision == "bf16" and "BF16" not in ov.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeUnavailable(
            "this processor has no bfloat16 arithmetic (AMX or AVX512-BF16): use --precision fp32"
        )


def _read(path: Path) -> Any:
    """The model in the file, read as ONNX whatever the file's name; StudyError where there is none."""
    try:
        frontend = ov.frontend.FrontEndManager().load_by_framework("onnx")
        return frontend.convert(frontend.load(str(path)))
    except _FAILED as error:
        raise _not_ours(path) from error


def _not_ours(path: Path) -> StudyError:
    return StudyError(f"{path} is cut or not an ONNX file that can be run: export it again with --force")


def _shape(port: Any) -> list[int | str]:
    """The sizes of an input, with a word for one that is free."""
    sizes = port.get_partial_shape()
    return [size.get_length() if size.is_static else "free" for size in sizes]


def _shared(tensor: Tensor) -> Any:
    """``tensor``'s memory, as OpenVINO takes it."""
    return ov.Tensor(tensor.numpy(), shared_memory=True)
