"""What goes back: JSON, and the bytes of tensors after it."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ptprof.serve.body import WINDOW_BITS
from ptprof.serve.model import DATATYPE, VERSION
from ptprof.serve.query import Query

# Floats hardly shrink, whatever the effort.
_COMPRESSION_LEVEL = 1
_RETRY_AFTER_S = 1
_PIECE_BYTES = 2**20


class JSONResponse(Response):
    """A JSON document; NaN and infinity become null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def refusal(message: str, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error in the form that the protocol's clients read."""
    headers = dict(headers or {})
    if status == 503:
        headers["retry-after"] = str(_RETRY_AFTER_S)
    return JSONResponse({"error": message}, status, headers)


class InferResponse:
    """An inference response, sent in parts, so that a long rollout is not copied whole once more."""

    def __init__(self, parts: list[memoryview], headers: dict[str, str]) -> None:
        self._parts = parts
        self._headers = headers | {"content-length": str(sum(len(part) for part in parts))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in self._parts:
            for begin in range(0, len(part), _PIECE_BYTES):
                piece = bytes(part[begin : begin + _PIECE_BYTES])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def infer_response(
    name: str, query: Query, outputs: dict[str, NDArray[np.float32]], coding: str | None
) -> InferResponse:
    """The answer to ``query``; ``coding`` is the compression, None for none."""
    described: list[dict[str, Any]] = []
    tensors: list[memoryview] = []
    for output in query.outputs:
        array = outputs[output.name]
        tensor: dict[str, Any] = {"name": output.name, "datatype": DATATYPE, "shape": list(array.shape)}
        if output.binary:
            tensor["parameters"] = {"binary_data_size": array.nbytes}
            tensors.append(array.reshape(-1).view(np.uint8).data)
        else:
            tensor["data"] = array.reshape(-1)
        described.append(tensor)
    document: dict[str, Any] = {"model_name": name, "model_version": VERSION}
    if query.id is not None:
        document["id"] = query.id
    document["outputs"] = described
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {"content-type": "application/octet-stream" if tensors else "application/json"}
    if tensors:
        headers["inference-header-content-length"] = str(len(text))
    parts = [memoryview(text), *tensors]
    if coding is not None:
        headers["content-encoding"] = coding
        # zlib lets other threads run meanwhile.
        parts = await asyncio.to_thread(_compress, parts, coding)
    return InferResponse(parts, headers)


def coding_wanted(accept_encoding: str | None) -> str | None:
    """The compression of an inference response: what Accept-Encoding names, if that is one thing alone.

    HTTP libraries offer several codings with every request; to compress floats then would cost much and
    gain little. A client that really wants it names it, as tritonclient does.
    """
    coding = (accept_encoding or "").strip().lower()
    return coding if coding in WINDOW_BITS else None


def _compress(parts: list[memoryview], coding: str) -> list[memoryview]:
    stream = zlib.compressobj(_COMPRESSION_LEVEL, wbits=WINDOW_BITS[coding])
    pieces = [stream.compress(part) for part in parts]
    return [memoryview(piece) for piece in (*pieces, stream.flush()) if piece]
