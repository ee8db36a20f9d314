"""The Open Inference Protocol v2 over HTTP, as an ASGI app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ptprof import __version__
from ptprof.errors import ProtocolError, unknown
from ptprof.serve.body import header_length, read_body
from ptprof.serve.counters import Counters
from ptprof.serve.drain import Drain
from ptprof.serve.forecast import Forecast, forecast
from ptprof.serve.limits import Limits
from ptprof.serve.model import VERSION, ServedModel, config, metadata
from ptprof.serve.query import Query, parse
from ptprof.serve.response import (
    InferResponse,
    JSONResponse,
    coding_wanted,
    infer_response,
    refusal,
)
from ptprof.serve.worker import Worker

# What works, by the names of the protocol's extensions.
EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")


def create_app(models: Mapping[str, ServedModel], *, limits: Limits | None = None) -> Starlette:
    """The app that serves ``models`` by their names.

    It may run under any ASGI server or inside another app. When its lifespan ends, it finishes what runs;
    the runners stay open, for who opened them to close.
    """
    service = Service(models, limits or Limits())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = Starlette(
        routes=service.routes(),
        middleware=[
            Middleware(
                Drain,
                max_bytes=2 * service.limits.max_request_bytes,
                max_seconds=service.limits.idle_timeout_s,
            )
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
    return app


class Service:
    """The endpoints, with the models, their workers and their counters."""

    def __init__(self, models: Mapping[str, ServedModel], limits: Limits) -> None:
        self.limits = limits
        self._models = dict(models)
        self._workers = {name: Worker(name, limits.max_queue) for name in models}
        self._counters = {name: Counters() for name in models}

    def close(self) -> None:
        """Finish what runs, and stop the workers."""
        for worker in self._workers.values():
            worker.close()

    def routes(self) -> list[Route]:
        one, version = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
        routes = [
            Route("/v2/health/live", self.well),
            Route("/v2/health/ready", self.well),
            Route("/v2", self.server_metadata),
            Route("/v2/models/stats", self.statistics),
            Route("/v2/repository/index", self.repository_index, methods=["POST"]),
        ]
        for model in (version, one):
            routes += [
                Route(model, self.model_metadata),
                Route(f"{model}/ready", self.model_ready),
                Route(f"{model}/config", self.model_config),
                Route(f"{model}/stats", self.statistics),
                Route(f"{model}/infer", self.infer, methods=["POST"]),
            ]
        return routes

    async def well(self, _: Request) -> Response:
        """The models are loaded before the server starts: whoever gets an answer may ask them."""
        return Response()

    async def server_metadata(self, _: Request) -> Response:
        return JSONResponse({"name": "ptprof", "version": __version__, "extensions": EXTENSIONS})

    async def model_ready(self, request: Request) -> Response:
        self._model(request)
        return Response()

    async def model_metadata(self, request: Request) -> Response:
        name, model = self._model(request)
        return JSONResponse(metadata(name, model))

    async def model_config(self, request: Request) -> Response:
        name, model = self._model(request)
        return JSONResponse(config(name, model, self.limits))

    async def statistics(self, request: Request) -> Response:
        names = [self._model(request)[0]] if "name" in request.path_params else list(self._models)
        return JSONResponse({"model_stats": [self._counters[name].document(name) for name in names]})

    async def repository_index(self, _: Request) -> Response:
        return JSONResponse(
            [{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in self._models]
        )

    async def infer(self, request: Request) -> InferResponse:
        """A forecast from the state in the request's body."""
        arrived = time.perf_counter_ns()
        name, model = self._model(request)
        worker, counters = self._workers[name], self._counters[name]
        answered = False
        try:
            with worker.place():
                query = await self._query(request, model)
                queued = time.perf_counter_ns()
                done: Forecast = await worker.run(partial(forecast, model.runner, query), request.receive)
            coding = coding_wanted(request.headers.get("accept-encoding"))
            response = await infer_response(name, query, done.outputs, coding)
            answered = True
        finally:
            total = time.perf_counter_ns() - arrived
            if answered:
                counters.served(
                    done, batch=len(query.state), queue_ns=done.started_ns - queued, total_ns=total
                )
            else:
                counters.refused(total)
        return response

    async def _query(self, request: Request, model: ServedModel) -> Query:
        length = header_length(request.headers)
        body = await read_body(request.receive, request.headers, self.limits, ahead=length or 0)
        return parse(body, length, model, self.limits)

    def _model(self, request: Request) -> tuple[str, ServedModel]:
        """The model that the path names; ProtocolError 404 where there is none, or not that version."""
        name, version = request.path_params["name"], request.path_params.get("version", VERSION)
        if name not in self._models:
            raise ProtocolError(str(unknown("model", name[:100], self._models)), 404)
        if version != VERSION:
            raise ProtocolError(f"model {name!r} has no version {version[:100]!r}: it has {VERSION!r}", 404)
        return name, self._models[name]


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
