"""Reading what is left of a request that is answered early."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Drain:
    """ASGI middleware: before an answer is sent, the rest of the request's body is read and dropped.

    A client that writes its whole body before it reads would otherwise see a reset connection, not the
    answer that says what was wrong. What is dropped is bounded in bytes and in time.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # A client that waits for 100 Continue has not sent anything, and will not once it is refused.
        left = "expect" not in headers and (
            "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        )

        async def reading() -> Message:
            nonlocal left
            message = await receive()
            left = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            if left and message["type"] == "http.response.start":
                await self._drop(reading)
            await send(message)

        await self._app(scope, reading, sending)

    async def _drop(self, receive: Receive) -> None:
        dropped = 0
        try:
            async with asyncio.timeout(self._max_seconds):
                while dropped <= self._max_bytes:
                    message = await receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
                    dropped += len(message.get("body", b""))
        except TimeoutError:
            return
