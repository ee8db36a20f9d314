"""One thread per model, which alone uses its runner, and a bounded line of requests before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ptprof.errors import ProtocolError

T = TypeVar("T")
logger = logging.getLogger("ptprof.serve")


class Worker:
    """Does one piece of work at a time, in the order of arrival.

    Parameters
    ----------
    name : of the model, for messages and for the thread
    max_queue : how many requests may wait beside the one that runs
    """

    def __init__(self, name: str, max_queue: int) -> None:
        self._name = name
        self._room = max_queue + 1
        self._admitted = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"ptprof-{name}")
        self._closed = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the line, taken before a request's body is read: what waits is bounded in bytes too.

        Raises
        ------
        ProtocolError : 503 where the line is full, or the server stops
        """
        if self._closed:
            raise ProtocolError("the server is stopping", 503)
        if self._admitted >= self._room:
            raise ProtocolError(
                f"{self._admitted} requests for {self._name!r} wait already: try again later", 503
            )
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def run(self, work: Callable[[], T], receive: Receive) -> T:
        """What ``work`` returns; work whose client goes before its turn is not done.

        Raises
        ------
        ClientDisconnect : the client has gone
        ProtocolError : what ``work`` raised of that kind; 500 for anything else, which goes to the log
        """
        job = self._thread.submit(work)
        done = asyncio.wrap_future(job)
        gone = asyncio.create_task(_gone(receive))
        either: set[asyncio.Future[Any]] = {done, gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return self._outcome(done)
            if not job.cancel():
                # It has begun: until it ends, the thread is not free for the next, and it may still fail.
                await asyncio.wait({done})
                self._outcome(done)
            raise ClientDisconnect
        finally:
            gone.cancel()
            job.cancel()

    def _outcome(self, done: asyncio.Future[T]) -> T:
        failure = done.exception()
        if failure is None or isinstance(failure, ProtocolError):
            return done.result()
        logger.error("a forecast by %s failed", self._name, exc_info=failure)
        raise ProtocolError("the forecast failed: the server's log says why", 500)

    def close(self) -> None:
        """Finish what runs, drop what waits, take nothing more."""
        self._closed = True
        self._thread.shutdown(wait=True, cancel_futures=True)


async def _gone(receive: Receive) -> None:
    """Return when the client goes; the body is read already."""
    while (await receive())["type"] != "http.disconnect":
        pass
