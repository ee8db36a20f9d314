"""A request's body: read into one piece of memory, decompressed, never larger than allowed."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import numpy as np
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ptprof.errors import ProtocolError
from ptprof.serve.limits import MIB, Limits

# What zlib calls the two formats: gzip, and deflate in zlib's wrapping, which HTTP means by deflate.
WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_ALIGNMENT_BYTES = 16


async def read_body(receive: Receive, headers: Headers, limits: Limits, ahead: int) -> memoryview:
    """The whole body, decompressed.

    Parameters
    ----------
    ahead : how many bytes stand before the first tensor. An uncompressed body is laid out so that the
        tensor begins at a multiple of 16 bytes, and can be used where it lies.

    Raises
    ------
    ProtocolError : 400 for a body that is not what the headers say, 408 where it stops coming, 413 where
        it is too large, 415 for an encoding that is not known
    ClientDisconnect : the client has gone
    """
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity" and coding not in WINDOW_BITS:
        raise ProtocolError(f"Content-Encoding {_short(coding)} is not known: gzip or deflate", 415)
    try:
        async with asyncio.timeout(limits.idle_timeout_s) as deadline:
            body = await _read(receive, _declared(headers), limits, -ahead % _ALIGNMENT_BYTES, deadline)
    except TimeoutError:
        raise ProtocolError(f"the body stopped coming for {limits.idle_timeout_s:g} s", 408) from None
    if coding == "identity":
        return body
    # zlib lets other threads run meanwhile.
    return memoryview(await asyncio.to_thread(decompress, body, coding, limits.max_request_bytes))


def header_length(headers: Headers) -> int | None:
    """The bytes of JSON before the binary tensors; None where the whole body is JSON."""
    return _count(headers, "inference-header-content-length")


def decompress(body: memoryview, coding: str, max_bytes: int) -> bytes:
    """The content of a ``gzip`` or ``deflate`` body, taken apart no further than ``max_bytes``."""
    stream = zlib.decompressobj(wbits=WINDOW_BITS[coding])
    try:
        content = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        raise ProtocolError(f"the body is not the {coding} that Content-Encoding says it is") from None
    if len(content) > max_bytes:
        raise too_large("the decompressed body", max_bytes)
    if not stream.eof or stream.unused_data:
        raise ProtocolError(f"the body is not one whole {coding} stream")
    return content


def too_large(what: str, max_bytes: int) -> ProtocolError:
    """The error for a body over the limit."""
    return ProtocolError(f"{what} is larger than this server takes, {max_bytes / MIB:g} MiB", 413)


async def _read(
    receive: Receive, declared: int | None, limits: Limits, pad: int, deadline: asyncio.Timeout
) -> memoryview:
    """The body as it comes, behind ``pad`` bytes of the piece of memory that holds it."""
    if declared is not None and declared > limits.max_request_bytes:
        raise too_large(f"a body of {declared / MIB:.1f} MiB", limits.max_request_bytes)
    async with aclosing(_chunks(receive, limits, deadline)) as chunks:
        if declared is None:
            return await _grow(chunks, limits, pad)
        return await _fill(chunks, declared, pad)


async def _fill(chunks: AsyncIterator[bytes], declared: int, pad: int) -> memoryview:
    """A body of the length that Content-Length says."""
    # Not cleared, since every byte of it is written before it is used.
    body = np.empty(pad + declared, dtype=np.uint8).data[pad:]
    end = 0
    async for chunk in chunks:
        start, end = end, end + len(chunk)
        if end > declared:
            raise ProtocolError(f"the body is longer than the {declared} bytes that Content-Length says")
        body[start:end] = chunk
    if end < declared:
        raise ProtocolError(f"the body ends after {end} of the {declared} bytes that Content-Length says")
    return body


async def _grow(chunks: AsyncIterator[bytes], limits: Limits, pad: int) -> memoryview:
    """A body of a length that nobody said."""
    buffer = bytearray(pad)
    async for chunk in chunks:
        if len(buffer) - pad + len(chunk) > limits.max_request_bytes:
            raise too_large("the body", limits.max_request_bytes)
        buffer += chunk
    return memoryview(buffer)[pad:]


async def _chunks(receive: Receive, limits: Limits, deadline: asyncio.Timeout) -> AsyncGenerator[bytes]:
    """The parts of the body; each puts the deadline off, if not by too little to be worth it."""
    now = asyncio.get_running_loop().time
    renewed = now()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if now() - renewed > limits.idle_timeout_s / 16:
            renewed = now()
            deadline.reschedule(renewed + limits.idle_timeout_s)
        more = message.get("more_body", False)
        yield message.get("body", b"")


def _declared(headers: Headers) -> int | None:
    return None if "transfer-encoding" in headers else _count(headers, "content-length")


def _count(headers: Headers, name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ProtocolError(f"{name.title()} {_short(text)} is not a number of bytes")
    return int(text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
