"""A request's JSON, and its tensors: bytes after the JSON, or lists in it."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from ptprof.errors import ProtocolError
from ptprof.serve.model import DATATYPE, VALUE_BYTES

# Rows of a nested tensor are counted too, and rows are long.
MAX_JSON_PARTS = 1_000_000

Values = NDArray[np.float32]
Dimension = int | str
M = TypeVar("M", bound=BaseModel)


class Part(BaseModel):
    """A part of a request's JSON.

    Lists fail at their first fault: a list of a million faults would take longer to describe than to send.
    Members that this server does not know are other servers' extensions, and none of its business.
    """

    model_config = ConfigDict(strict=True, extra="ignore")


class Tensor(Part):
    """An input as the JSON describes it."""

    class Parameters(Part):
        binary_data_size: Annotated[int, Field(ge=0)] | None = None
        shared_memory_region: Any = None

    name: str
    shape: Annotated[list[int], FailFast()]
    datatype: str
    parameters: Parameters = Parameters()
    data: Any = None


def document(text: memoryview) -> dict[str, Any]:
    """The JSON object that ``text`` is; ProtocolError where it is not one, or is too intricate."""
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
    return document


def _parts(text: memoryview) -> int:
    """At most how many lists, objects and strings JSON has: in memory they are far larger than numbers."""
    if len(text) <= MAX_JSON_PARTS:
        return len(text)
    characters = np.frombuffer(text, dtype=np.uint8)
    return sum(int(np.count_nonzero(characters == mark)) for mark in b'[{"')


def valid(kind: type[M], document: dict[str, Any], what: str) -> M:
    """``document`` as a ``kind``; ProtocolError with its first fault."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(f"{place or what}: {first['msg']}") from None


def check_shape(tensor: Tensor, taken: tuple[Dimension, ...]) -> tuple[int, ...]:
    """The shape that the request gives, once it is the one ``taken``, where a name stands for 1 or more.

    Raises
    ------
    ProtocolError : another shape or datatype, or a tensor that is somewhere else
    """
    if tensor.datatype != DATATYPE:
        raise ProtocolError(
            f"input {tensor.name!r} has datatype {tensor.datatype[:20]!r}: the model takes {DATATYPE}"
        )
    shape = tuple(tensor.shape)
    fits = len(shape) == len(taken) and all(
        size >= 1 if isinstance(wanted, str) else size == wanted
        for size, wanted in zip(shape, taken, strict=True)
    )
    if not fits:
        given, wants = (", ".join(map(str, s)) for s in (shape[:8], taken))
        raise ProtocolError(
            f"input {tensor.name!r} has shape [{given}]: the model takes [{wants}], B being 1 or more"
        )
    if tensor.parameters.shared_memory_region is not None:
        raise ProtocolError("shared memory is not supported: send the tensor in the body")
    return shape


def read(tensors: list[Tensor], rest: memoryview, *, allow_nonfinite: bool) -> dict[str, Values]:
    """The values of ``tensors``, whose shapes are checked; those in binary stay where they lie if they can.

    Parameters
    ----------
    rest : what follows the JSON: the binary tensors, one after the other

    Raises
    ------
    ProtocolError : data that is missing, of another size, or not finite where it has to be
    """
    _check_sizes(tensors, rest)
    values: dict[str, Values] = {}
    for tensor in tensors:
        if tensor.data is None:
            size = tensor.parameters.binary_data_size or 0
            values[tensor.name], rest = _binary(tensor, rest[:size]), rest[size:]
        else:
            values[tensor.name] = _listed(tensor)
    if not allow_nonfinite:
        for name, array in values.items():
            # min and max pass NaN on, and need no memory.
            if not (np.isfinite(array.min()) and np.isfinite(array.max())):
                raise ProtocolError(f"input {name!r} holds NaN or infinity, or a number beyond {DATATYPE}")
    return values


def _check_sizes(tensors: list[Tensor], rest: memoryview) -> None:
    """Check what is said of binary data before any of it is touched."""
    said = 0
    for tensor in tensors:
        size = tensor.parameters.binary_data_size
        if tensor.data is not None and size is not None:
            raise ProtocolError(f"input {tensor.name!r} has data in the JSON and binary data as well")
        if tensor.data is not None:
            continue
        if size is None:
            raise ProtocolError(f"input {tensor.name!r} has neither data nor the parameter binary_data_size")
        wanted = VALUE_BYTES * math.prod(tensor.shape)
        if size != wanted:
            raise ProtocolError(
                f"input {tensor.name!r} of shape {tensor.shape} takes {wanted} bytes, "
                f"and binary_data_size is {size}"
            )
        said += size
    if said == 0 and len(rest):
        raise ProtocolError(
            f"{len(rest)} bytes of binary data as well follow the JSON, which has the data of every input"
        )
    if said != len(rest):
        raise ProtocolError(
            f"binary_data_size says {said} bytes, and {len(rest)} follow the JSON: "
            "Inference-Header-Content-Length must be the length of the JSON"
        )


def _binary(tensor: Tensor, raw: memoryview) -> Values:
    """Little-endian, C order. A copy is made only of what torch cannot use: read-only or not aligned."""
    return np.require(np.frombuffer(raw, dtype="<f4").reshape(tensor.shape), np.float32, ["C", "A", "W"])


def _listed(tensor: Tensor) -> Values:
    """From a JSON list, flat or nested as the shape says."""
    shape = tuple(tensor.shape)
    try:
        values = np.asarray(tensor.data)
    except (ValueError, OverflowError):
        raise ProtocolError(f"the data of input {tensor.name!r} is not a regular list of numbers") from None
    if values.dtype.kind not in "iuf":
        raise ProtocolError(f"the data of input {tensor.name!r} is not a list of numbers alone")
    if values.shape != shape and values.shape != (math.prod(shape),):
        raise ProtocolError(
            f"the data of input {tensor.name!r} has {values.size} values in shape {list(values.shape)}: "
            f"shape {list(shape)} needs {math.prod(shape)}, flat or nested"
        )
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(shape)
