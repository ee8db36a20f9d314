"""The protocol's paths: health, metadata, statistics, the repository, inference; and the metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ptprof import __version__
from ptprof.errors import ProtocolError, unknown
from ptprof.serve.batching import Batching
from ptprof.serve.body import read_body
from ptprof.serve.inference import Inference
from ptprof.serve.limits import Limits
from ptprof.serve.metrics import MEDIA_TYPE
from ptprof.serve.model import ServedModel, check_version, config, metadata
from ptprof.serve.page import Page
from ptprof.serve.repository import Repository
from ptprof.serve.response import JSONResponse, refusal
from ptprof.serve.telemetry import Snapshot, Telemetry, metrics, statistics
from ptprof.serve.tensors import Part, document, valid

# What works, by the names of the protocol's extensions.
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics")

#: Asks all servers behind one address what they have counted.
Everyone = Callable[[], Awaitable[Sequence[Snapshot]]]


class Endpoints:
    """What every path answers.

    Parameters
    ----------
    everyone : where this server is one of several behind one address; None: it is alone
    """

    def __init__(
        self,
        repository: Repository,
        telemetry: Telemetry,
        limits: Limits,
        batching: Batching,
        page: Page | None,
        everyone: Everyone | None,
    ) -> None:
        self._repository = repository
        self._telemetry = telemetry
        self._limits = limits
        self._batching = batching
        self._page = page
        self._everyone = everyone

    def routes(self) -> list[Route]:
        infer = Inference(self._repository, self._telemetry, self._limits)
        routes = [
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2", self.server_metadata),
            Route("/v2/models/stats", self.statistics),
            Route("/v2/repository/index", self.repository_index, methods=["POST"]),
            Route("/v2/repository/models/{name}/load", self.load, methods=["POST"]),
            Route("/v2/repository/models/{name}/unload", self.unload, methods=["POST"]),
            Route("/metrics", self.metrics),
        ]
        for model in ("/v2/models/{name}/versions/{version}", "/v2/models/{name}"):
            routes += [
                Route(model, self.model_metadata),
                Route(f"{model}/ready", self.model_ready),
                Route(f"{model}/config", self.model_config),
                Route(f"{model}/stats", self.statistics),
                Route(f"{model}/infer", infer, methods=["POST"]),
            ]
        return routes if self._page is None else routes + self._page.routes()

    async def live(self, _: Request) -> Response:
        return Response()

    async def ready(self, _: Request) -> Response:
        """Models are opened before the server starts; one that could not be opened again is not ready."""
        if not self._repository.ready:
            return refusal("a model could not be loaded: the repository's index says why", 503)
        return Response()

    async def server_metadata(self, _: Request) -> Response:
        # The repository of one of several is only read.
        works = [name for name in EXTENSIONS if self._everyone is None or name != "model_repository"]
        return JSONResponse({"name": "ptprof", "version": __version__, "extensions": works})

    async def model_ready(self, request: Request) -> Response:
        self._model(request)
        return Response()

    async def model_metadata(self, request: Request) -> Response:
        name, model = self._model(request)
        return JSONResponse(metadata(name, model))

    async def model_config(self, request: Request) -> Response:
        name, model = self._model(request)
        return JSONResponse(config(name, model, self._batching, self._limits))

    async def statistics(self, request: Request) -> Response:
        names = [self._model(request)[0]] if "name" in request.path_params else list(self._repository)
        return JSONResponse(statistics(await self._snapshots(), names))

    async def metrics(self, _: Request) -> Response:
        return Response(metrics(await self._snapshots()), media_type=MEDIA_TYPE)

    async def repository_index(self, request: Request) -> Response:
        asked = valid(_Index, await self._json(request), "the request")
        index = self._repository.index()
        return JSONResponse([entry for entry in index if not asked.ready or entry["state"] == "READY"])

    async def load(self, request: Request) -> Response:
        """Open the newest run of a model; files that a client sends are refused: models are the study's."""
        asked = await self._change(request)
        for name in asked.parameters:
            raise ProtocolError(f"parameter {name[:100]!r} is not taken: models come from the study alone")
        await self._repository.load(request.path_params["name"])
        return JSONResponse({})

    async def unload(self, request: Request) -> Response:
        """Close a model, when what it does is done."""
        asked = await self._change(request)
        for name in asked.parameters:
            if name != "unload_dependents":
                raise ProtocolError(str(unknown("parameter", name[:100], ["unload_dependents"])))
        await self._repository.unload(request.path_params["name"])
        return JSONResponse({})

    async def _change(self, request: Request) -> _Change:
        """What is to change; ProtocolError where others that serve the same would not follow."""
        if self._everyone is not None:
            raise ProtocolError(
                "several servers stand behind this address, and all serve the same models: "
                "deploy them anew to change what they serve"
            )
        return valid(_Change, await self._json(request), "the request")

    async def _snapshots(self) -> Sequence[Snapshot]:
        return [self._telemetry.snapshot()] if self._everyone is None else await self._everyone()

    async def _json(self, request: Request) -> dict[str, Any]:
        """The JSON object in the body, which may be left out."""
        body = await read_body(request.receive, request.headers, self._limits, ahead=0)
        return document(body) if len(body) else {}

    def _model(self, request: Request) -> tuple[str, ServedModel]:
        """The model that the path names; ProtocolError 404 where there is none, or not that version."""
        name = request.path_params["name"]
        model = self._repository.describe(name)
        check_version(name, request.path_params.get("version"))
        return name, model


class _Index(Part):
    ready: bool = False


class _Change(Part):
    parameters: dict[str, Any] = Field(default_factory=dict)
