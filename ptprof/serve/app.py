"""The Open Inference Protocol v2 over HTTP, as an ASGI app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ptprof.errors import ProtocolError
from ptprof.serve.batching import Batching
from ptprof.serve.drain import Drain
from ptprof.serve.endpoints import Endpoints, Everyone
from ptprof.serve.guard import Guard
from ptprof.serve.ledger import Ledger
from ptprof.serve.limits import Limits
from ptprof.serve.model import Source
from ptprof.serve.page import Page
from ptprof.serve.price import Price
from ptprof.serve.repository import Repository
from ptprof.serve.response import refusal
from ptprof.serve.served import Served
from ptprof.serve.telemetry import Telemetry
from ptprof.serve.worker import Worker


def create_app(
    models: Mapping[str, Source],
    *,
    limits: Limits | None = None,
    batching: Batching | None = None,
    memory_bytes: int | None = None,
    token: str | None = None,
    ledger: Ledger | None = None,
    price: Price | None = None,
    served: Served | None = None,
    page: Page | None = None,
    everyone: Everyone | None = None,
) -> Starlette:
    """The app that serves ``models`` by their names; they are opened here, each once.

    It may run under any ASGI server or inside another app. When its lifespan ends it finishes the steps that
    run, and closes what it opened.

    Parameters
    ----------
    memory_bytes : of the weights that may be in memory at once; None: no limit
    token : what clients have to send as bearer token; None: nothing
    ledger : what the machine's energy is read from; None: answers tell no energy
    served : the running total of the study; None: none is kept
    page : what the page at ``/`` shows beside the models; None: there is no page
    everyone : asks all servers behind one address, this one too, for what each has counted:
        ``app.state.telemetry.snapshot()``. None: this server is alone, and clients may load and unload models

    Raises
    ------
    PtprofError : a model that cannot be opened, in words
    """
    limits, batching, ledger = limits or Limits(), batching or Batching(), ledger or Ledger()

    def start(name: str, source: Source) -> Worker:
        return Worker(
            name,
            source,
            batching=batching,
            max_queue=limits.max_queue,
            ledger=ledger,
            called=lambda call: telemetry.called(name, call),
        )

    repository = Repository(models, start=start, memory_bytes=memory_bytes)
    telemetry = Telemetry(models, repository.loaded, ledger=ledger, price=price or Price(), served=served)
    repository.load_all()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        keeping = asyncio.create_task(served.keep()) if served is not None else None
        yield
        await asyncio.to_thread(repository.close)
        if served is not None and keeping is not None:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
            await asyncio.to_thread(served.write)

    endpoints = Endpoints(repository, telemetry, limits, batching, page, everyone)
    app = Starlette(
        routes=endpoints.routes(),
        middleware=[
            Middleware(Drain, max_bytes=2 * limits.max_request_bytes, max_seconds=limits.idle_timeout_s),
            Middleware(Guard, token=token),
        ],
        exception_handlers={
            ProtocolError: _refuse,
            ClientDisconnect: _gone,
            HTTPException: _no_route,
            Exception: _fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.telemetry = telemetry
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProtocolError)
    return refusal(str(error), error.status)


async def _gone(_: Request, __: Exception) -> Response:
    """Nobody reads it."""
    return refusal("the client has gone", 400)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.url.path[:200]}"
    message = (
        f"{asked}: the path takes another method"
        if error.status_code == 405
        else f"{asked} is not served here"
    )
    return refusal(message, error.status_code, dict(error.headers or {}))


async def _fault(_: Request, __: Exception) -> Response:
    """The error itself goes to the log, by the server that runs the app."""
    return refusal("the server failed: its log says why", 500)
