"""The server as a Ray Serve application: ``serve run ptprof.serve.ray:app study=STUDY``.

A replica is a whole server: its models, its lines of requests, its ledger. Ray Serve stands before them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import ray
from pydantic import BaseModel, BeforeValidator, ValidationError
from ray import serve
from ray.serve import Application
from ray.serve.schema import DeploymentSchema

from ptprof.energy.cpu import CPU_WATTS_PER_CORE
from ptprof.environment import SHARED_VARIABLE
from ptprof.errors import ProtocolError, UsageError, unknown
from ptprof.plugins import VARIABLE as PLUGINS
from ptprof.runtimes.threads import spin_briefly
from ptprof.serve.batching import Batching
from ptprof.serve.limits import Limits
from ptprof.serve.price import Price
from ptprof.serve.server import SHUTDOWN_S
from ptprof.serve.study import Service
from ptprof.study import Study

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ptprof.serve.telemetry import Snapshot

#: Of the application's one deployment.
NAME = "ptprof"
#: Requests that wait in one proxy while every replica has all that it takes; their bodies are in memory.
MOST_WAITING = 128
#: How long (s) the replicas may take to tell what they have counted.
PATIENCE_S = 10.0
DEVICES = ("auto", "cpu", "cuda", "cuda:0")


class Arguments(BaseModel, extra="forbid", frozen=True):
    """What `app` takes, from the command line or from ``args`` in a file of Ray Serve's.

    Attributes
    ----------
    study : a folder that every node of the cluster sees by this path
    models : names, or one string with commas between; empty: all that can be served
    revision : any text; a new one makes Ray Serve replace the replicas, for runs that are new in the study
    """

    study: Path
    models: Annotated[
        tuple[str, ...], BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v)
    ] = ()
    runtime: str = "onnxruntime"
    device: str = "auto"
    limits: Limits = Limits()
    batching: Batching = Batching()
    memory_bytes: int | None = None
    price: Price = Price()
    watts_per_core: float = CPU_WATTS_PER_CORE
    revision: str = ""


def app(arguments: Mapping[str, Any]) -> Application:
    """Build the application from `Arguments`; the token is the environment's, PTPROF_TOKEN.

    Raises
    ------
    UsageError : arguments that are not these
    """
    try:
        given = Arguments.model_validate(dict(arguments))
    except ValidationError as error:
        raise UsageError(_first(error)) from None
    fields = dict(given)
    del fields["revision"]
    service = Service(
        **fields | {"study": Study(given.study), "names": fields.pop("models")},
        token=os.environ.get("PTPROF_TOKEN"),
    )
    return application(service)


def application(service: Service, settings: Mapping[str, Any] | None = None) -> Application:
    """``service`` as an application.

    Parameters
    ----------
    settings : of Ray Serve's for the deployment, such as ``autoscaling_config``; they come before ours

    Raises
    ------
    UsageError : a setting that Ray Serve does not have or take, or a device that is not Ray's to give
    """
    if service.device not in DEVICES:
        raise UsageError(
            f"Ray gives each replica its own devices: {service.device!r} is not one of {', '.join(DEVICES)}"
        )
    known = sorted(set(DeploymentSchema.model_fields) - {"name"})
    for name in settings or {}:
        if name not in known:
            raise unknown("setting of a deployment", name, known)
    options = _options(service, settings or {})
    try:
        DeploymentSchema(name=NAME, **options)
        replicas = serve.deployment(serve.ingress()(Replica)).options(name=NAME, **options)
    except ValidationError as error:
        raise UsageError(f"Ray Serve does not take the deployment: {_first(error)}") from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"Ray Serve does not take the deployment: {error}") from None
    # What waits for a slow reader piles up in the replica: Ray Serve takes all that it is given.
    limits = replace(service.limits, max_stream_bytes=service.limits.max_response_bytes)
    return replicas.bind(replace(service, limits=limits))


class Replica:
    """One of the servers, in a process that Ray Serve starts, watches and stops."""

    def __init__(self, service: Service) -> None:
        spin_briefly(os.environ)
        # RAPL counts a socket, whoever keeps it busy.
        os.environ[SHARED_VARIABLE] = "replicas of Ray Serve may share the socket"
        self._service = service
        self._open = ExitStack()
        self._app: Starlette | None = None
        context = serve.get_replica_context()
        self._name = context.replica_tag
        self._all = serve.get_deployment_handle(context.deployment, context.app_name)

    def __serve_build_asgi_app__(self) -> Starlette:
        from ptprof.serve.study_app import study_app

        given = ray.get_runtime_context().get_assigned_resources()
        self._app = self._open.enter_context(
            study_app(
                self._service,
                threads=max(1, int(given["CPU"])) if given.get("CPU") else None,
                shared=None if given.get("GPU", 0) >= 1 else "replicas of Ray Serve may share the GPU",
                everyone=self._everyone,
            )
        )
        return self._app

    def __del__(self) -> None:
        self._open.close()

    def snapshot(self) -> Snapshot:
        """What this replica has counted."""
        assert self._app is not None
        told: Snapshot = self._app.state.telemetry.snapshot(replica=self._name)
        return told

    async def _everyone(self) -> Sequence[Snapshot]:
        """What all replicas have counted; one that ends meanwhile is left out."""
        from ptprof.serve.telemetry import Snapshot

        asked = self._all.broadcast("snapshot")
        try:
            told = await asked.results_async(timeout_s=PATIENCE_S, return_exceptions=True)
        except TimeoutError:
            raise ProtocolError(
                f"the replicas were too busy to answer within {PATIENCE_S:g} s", 503
            ) from None
        return [one for one in told if isinstance(one, Snapshot)]


def _options(service: Service, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the deployment: the user's, and ours where there are none."""
    cuda = service.device.startswith("cuda")
    if service.device == "auto":
        cuda = ray.is_initialized() and ray.cluster_resources().get("GPU", 0) >= 1
    actor: dict[str, Any] = {"num_cpus": 1, "num_gpus": int(cuda)}
    if plugins := os.environ.get(PLUGINS):
        actor["runtime_env"] = {"env_vars": {PLUGINS: plugins}}
    given = settings.get("ray_actor_options", {})
    return {
        # What one model computes at once, and its line.
        "max_ongoing_requests": service.batching.max_batch_size + service.limits.max_queue,
        "max_queued_requests": MOST_WAITING,
        "graceful_shutdown_timeout_s": SHUTDOWN_S,
        **settings,
        "ray_actor_options": actor | given if isinstance(given, dict) else given,
    }


def _first(error: ValidationError) -> str:
    """What is wrong first, in words."""
    detail = error.errors()[0]
    place = ".".join(str(part) for part in detail["loc"])
    return f"{place}: {detail['msg']}" if place else detail["msg"]
