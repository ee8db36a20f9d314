"""What an inference request asks for, checked in every part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from ptprof.errors import ProtocolError, unknown
from ptprof.serve.limits import MIB, Limits
from ptprof.serve.model import DATATYPE, INPUT, VALUE_BYTES, ServedModel

State = NDArray[np.float32]
M = TypeVar("M", bound=BaseModel)

# The longest float32 in JSON, "-1.1754944e-38", with its comma, rounded up.
JSON_VALUE_BYTES = 16
# Rows of a nested tensor are counted too, and rows are long.
MAX_JSON_PARTS = 1_000_000


@dataclass(frozen=True)
class Output:
    """An output that is asked for, in binary or as JSON."""

    name: str
    binary: bool


@dataclass(frozen=True, eq=False)
class Query:
    """A forecast that is asked for.

    ``state`` is ``(B, h, C, X, Y)``, physical units; ``rollout_steps`` is None for one step.
    """

    id: str | None
    state: State
    rollout_steps: int | None
    outputs: tuple[Output, ...]


class _Part(BaseModel):
    # Lists fail at their first fault: a list of a million faults would take longer to describe than to send.
    # Members that this server does not know are other servers' extensions, and none of its business.
    model_config = ConfigDict(strict=True, extra="ignore")


class _Tensor(_Part):
    class Parameters(_Part):
        binary_data_size: Annotated[int, Field(ge=0)] | None = None
        shared_memory_region: Any = None

    name: str
    shape: Annotated[list[int], FailFast()]
    datatype: str
    parameters: Parameters = Parameters()
    data: Any = None


class _Output(_Part):
    class Parameters(_Part):
        binary_data: bool | None = None
        classification: Any = None
        shared_memory_region: Any = None

    name: str
    parameters: Parameters = Parameters()


class _Parameters(_Part):
    binary_data_output: bool = False
    rollout_steps: Annotated[int, Field(ge=1)] | None = None
    # Taken, and without effect: there is one queue per model, in the order of arrival.
    priority: Any = None
    timeout: Any = None


class _Request(_Part):
    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[_Tensor], FailFast()]
    outputs: Annotated[list[_Output], FailFast()] = []


def parse(body: memoryview, header_length: int | None, model: ServedModel, limits: Limits) -> Query:
    """Read an inference request's body; the state stays where it lies in it if it can.

    Parameters
    ----------
    header_length : bytes of JSON at the start of ``body``, binary tensors after it; None: all is JSON

    Raises
    ------
    ProtocolError : 400 with what is wrong and what would be right
    """
    if header_length is not None and header_length > len(body):
        raise ProtocolError(
            f"Inference-Header-Content-Length is {header_length} bytes, and the whole body has {len(body)}"
        )
    request = _request(body[:header_length])
    parameters = _parameters(request.parameters)
    tensor = _only_input(request.inputs)
    shape = _shape(tensor, model)
    outputs = _outputs(request.outputs, parameters, model)
    _check_response(outputs, shape[0], parameters.rollout_steps, model, limits)
    rest = body[len(body) if header_length is None else header_length :]
    state = _binary(tensor, shape, rest) if tensor.data is None else _listed(tensor, shape, rest)
    # min and max pass NaN on, and need no memory.
    if not (np.isfinite(state.min()) and np.isfinite(state.max())):
        raise ProtocolError(f"input {INPUT!r} holds NaN or infinity, or a number beyond {DATATYPE}")
    return Query(request.id, state, parameters.rollout_steps, outputs)


def _request(text: memoryview) -> _Request:
    if _parts(text) > MAX_JSON_PARTS:
        raise ProtocolError(
            f"the JSON has more than {MAX_JSON_PARTS:,} lists, objects and strings: "
            "send a tensor as one flat list, or in binary"
        )
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"the request is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ProtocolError("the request is not a JSON object")
    return _valid(_Request, document, "the request")


def _parts(text: memoryview) -> int:
    """At most how many lists, objects and strings JSON has: in memory they are far larger than numbers."""
    if len(text) <= MAX_JSON_PARTS:
        return len(text)
    characters = np.frombuffer(text, dtype=np.uint8)
    return sum(int(np.count_nonzero(characters == mark)) for mark in b'[{"')


def _parameters(given: dict[str, Any]) -> _Parameters:
    known = _Parameters.model_fields
    for name in given:
        if name.startswith("sequence_"):
            raise ProtocolError(
                "the server keeps no sequence: send state_out as the next state, or ask for rollout_steps"
            )
        if name not in known:
            raise ProtocolError(str(unknown("parameter", name[:100], known)))
    return _valid(_Parameters, given, "parameters")


def _only_input(inputs: list[_Tensor]) -> _Tensor:
    for tensor in inputs:
        if tensor.name != INPUT:
            raise ProtocolError(str(unknown("input", tensor.name[:100], [INPUT])))
    if len(inputs) != 1:
        raise ProtocolError(f"the model takes one input, {INPUT!r}, and the request has {len(inputs)}")
    return inputs[0]


def _shape(tensor: _Tensor, model: ServedModel) -> tuple[int, ...]:
    """The shape that the request gives, once it is one that the model takes."""
    if tensor.datatype != DATATYPE:
        raise ProtocolError(
            f"input {INPUT!r} has datatype {tensor.datatype[:20]!r}: the model takes {DATATYPE}"
        )
    shape = tuple(tensor.shape)
    if shape[1:] != model.state_shape or shape[0] < 1:
        given, taken = (", ".join(map(str, s)) for s in (shape[:8], ("B", *model.state_shape)))
        raise ProtocolError(
            f"input {INPUT!r} has shape [{given}]: the model takes [{taken}], B being 1 or more"
        )
    if tensor.parameters.shared_memory_region is not None:
        raise ProtocolError("shared memory is not supported: send the tensor in the body")
    return shape


def _outputs(asked: list[_Output], parameters: _Parameters, model: ServedModel) -> tuple[Output, ...]:
    rollout = parameters.rollout_steps is not None
    there = model.outputs(rollout)
    if not asked:
        return (Output(there[0], parameters.binary_data_output),)
    chosen: dict[str, Output] = {}
    for output in asked:
        name = output.name
        if name not in there:
            if name in model.outputs(not rollout):
                raise ProtocolError(
                    f"output {name!r} is of {'one step' if rollout else 'a rollout'}: "
                    f"{'leave out' if rollout else 'give'} the parameter rollout_steps"
                )
            raise ProtocolError(str(unknown("output", name[:100], there)))
        if name in chosen:
            raise ProtocolError(f"output {name!r} is asked for twice")
        if output.parameters.classification is not None:
            raise ProtocolError("classification is not supported: a forecast has no classes")
        if output.parameters.shared_memory_region is not None:
            raise ProtocolError("shared memory is not supported: outputs come in the response")
        binary = output.parameters.binary_data
        chosen[name] = Output(name, parameters.binary_data_output if binary is None else binary)
    return tuple(chosen.values())


def _check_response(
    outputs: tuple[Output, ...], batch: int, rollout_steps: int | None, model: ServedModel, limits: Limits
) -> None:
    """Refuse what would be too much to answer, before any work."""
    sizes = {o.name: VALUE_BYTES if o.binary else JSON_VALUE_BYTES for o in outputs}
    if rollout_steps is not None:
        # Asked for or not, they are held until the last is there.
        sizes.setdefault("states", VALUE_BYTES)
    size = sum(per * math.prod(model.output_shape(name, batch, rollout_steps)) for name, per in sizes.items())
    if size > limits.max_response_bytes:
        less = "smaller batch" if rollout_steps is None else "shorter rollout, the next from its state_out"
        raise ProtocolError(
            f"the forecast would take {size / MIB:,.1f} MiB, and this server sends at most "
            f"{limits.max_response_bytes / MIB:g}: ask for binary outputs, a {less}"
        )


def _binary(tensor: _Tensor, shape: tuple[int, ...], rest: memoryview) -> State:
    """The state from the bytes after the JSON: little-endian, C order."""
    size = tensor.parameters.binary_data_size
    if size is None:
        raise ProtocolError(f"input {INPUT!r} has neither data nor the parameter binary_data_size")
    wanted = VALUE_BYTES * math.prod(shape)
    if size != wanted:
        raise ProtocolError(
            f"input {INPUT!r} of shape {list(shape)} takes {wanted} bytes, and binary_data_size is {size}"
        )
    if len(rest) != size:
        raise ProtocolError(
            f"binary_data_size says {size} bytes, and {len(rest)} follow the JSON: "
            "Inference-Header-Content-Length must be the length of the JSON"
        )
    # A copy is made only of what torch cannot use: memory that is read-only or not aligned.
    return np.require(np.frombuffer(rest, dtype="<f4").reshape(shape), np.float32, ["C", "A", "W"])


def _listed(tensor: _Tensor, shape: tuple[int, ...], rest: memoryview) -> State:
    """The state from a JSON list, flat or nested as the shape says."""
    if tensor.parameters.binary_data_size is not None or len(rest):
        raise ProtocolError(f"input {INPUT!r} has data in the JSON and binary data as well")
    try:
        values = np.asarray(tensor.data)
    except (ValueError, OverflowError):
        raise ProtocolError(f"the data of input {INPUT!r} is not a regular list of numbers") from None
    if values.dtype.kind not in "iuf":
        raise ProtocolError(f"the data of input {INPUT!r} is not a list of numbers alone")
    if values.shape != shape and values.shape != (math.prod(shape),):
        raise ProtocolError(
            f"the data of input {INPUT!r} has {values.size} values in shape {list(values.shape)}: "
            f"shape {list(shape)} needs {math.prod(shape)}, flat or nested"
        )
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(shape)


def _valid(kind: type[M], document: dict[str, Any], what: str) -> M:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(f"{place or what}: {first['msg']}") from None
