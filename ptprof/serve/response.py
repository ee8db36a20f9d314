"""What goes back: JSON, and the bytes of tensors after it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Send

from ptprof.serve.body import WINDOW_BITS
from ptprof.serve.forecast import Outputs
from ptprof.serve.model import DATATYPE, VERSION
from ptprof.serve.query import Query

# Floats hardly shrink, whatever the effort.
_COMPRESSION_LEVEL = 1
_RETRY_AFTER_S = 1
_PIECE_BYTES = 4 * 2**20


class JSONResponse(Response):
    """A JSON document; NaN and infinity become null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def refusal(message: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error in the form that the protocol's clients read."""
    headers = dict(headers or {})
    if status == 503:
        headers["retry-after"] = str(_RETRY_AFTER_S)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse({"error": message}, status, headers)


def encode(
    name: str, query: Query, outputs: Outputs, parameters: Mapping[str, Any]
) -> tuple[bytes, list[memoryview]]:
    """The JSON of an inference response, and the tensors that are in binary, in its order."""
    described: list[dict[str, Any]] = []
    tensors: list[memoryview] = []
    for output in query.outputs:
        array = outputs.get(output.name)
        if array is None:
            continue
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
    if parameters:
        document["parameters"] = dict(parameters)
    document["outputs"] = described
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), tensors


class Sender:
    """Sends a response piece by piece, so that nothing large is copied whole, to a client that takes it.

    A client that takes nothing for ``idle_timeout_s`` is given up: ClientDisconnect.
    """

    def __init__(self, send: Send, idle_timeout_s: float) -> None:
        self._send = send
        self._idle_timeout_s = idle_timeout_s

    async def start(self, headers: Mapping[str, str]) -> None:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def body(self, parts: list[memoryview]) -> None:
        for part in parts:
            for begin in range(0, len(part), _PIECE_BYTES):
                await self._piece(bytes(part[begin : begin + _PIECE_BYTES]), more=True)

    async def frame(self, text: bytes, tensors: list[memoryview]) -> None:
        """A part of a stream: a line of JSON, then the binary tensors that it describes."""
        await self.body([memoryview(text + b"\n"), *tensors])

    async def end(self) -> None:
        await self._piece(b"", more=False)

    async def _piece(self, piece: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        except (TimeoutError, OSError):
            raise ClientDisconnect from None


async def send_whole(
    sender: Sender,
    document: tuple[bytes, list[memoryview]],
    coding: str | None,
    headers: Mapping[str, str],
) -> None:
    """Send an inference response; ``coding`` is the compression, None for none."""
    text, tensors = document
    sent = dict(headers) | {"content-type": "application/octet-stream" if tensors else "application/json"}
    if tensors:
        sent["inference-header-content-length"] = str(len(text))
    parts = [memoryview(text), *tensors]
    if coding is not None:
        sent["content-encoding"] = coding
        # zlib lets other threads run meanwhile.
        parts = await asyncio.to_thread(_compress, parts, coding)
    await sender.start(sent | {"content-length": str(sum(len(part) for part in parts))})
    await sender.body(parts)
    await sender.end()


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
