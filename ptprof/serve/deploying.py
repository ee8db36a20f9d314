"""Serving a study by Ray Serve: on a local Ray that lives as long as the command, or on a cluster."""

from __future__ import annotations

import logging.config
import math
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ptprof.cluster import start
from ptprof.environment import cores
from ptprof.errors import StudyError, UsageError
from ptprof.serve.server import KEEP_ALIVE_S, check_private, log_config, reserve, stopped_by_signals, url
from ptprof.serve.study import Service
from ptprof.study import Study

if TYPE_CHECKING:
    from ray.serve import Application

logger = logging.getLogger("ptprof.serve")

#: Requests and answers go through Ray's object store between the proxy and the replicas.
OBJECT_STORE_BYTES = 2**30
APPLICATION = "ptprof"
#: How long (s) the proxies have for the end of the last answers.
LINGER_S = 2.0
#: Of replicas: what goes wrong, and no line for every request.
QUIET = {"log_level": "WARNING", "enable_access_log": False}
#: Of Ray Serve's own parts, which tell in pages what is told here in a line.
SILENT = {"log_level": "CRITICAL", "enable_access_log": False}


def read_settings(path: Path | None, replicas: int | None) -> dict[str, Any]:
    """The settings of the deployment in a YAML file, with ``replicas`` for their number.

    Raises
    ------
    UsageError : a file that cannot be read or holds something else, or two numbers of replicas
    """
    settings: Any = {}
    if path is not None:
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
        if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
            raise UsageError(f"{path}: not settings by name, such as `max_ongoing_requests: 16`")
    if replicas is None:
        return dict(settings)
    for name in ("num_replicas", "autoscaling_config"):
        if name in settings:
            raise UsageError(f"{path} has {name}, and --replicas says how many as well: leave one out")
    return {**settings, "num_replicas": replicas}


def serve_on_ray(
    service: Service,
    settings: Mapping[str, Any] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    insecure: bool = False,
    address: str | None = None,
) -> None:
    """Serve until this process is told to stop; on a cluster: deploy, and leave it to the cluster.

    What a cluster serves already is replaced replica by replica, while requests go on; so is what this
    process serves when it gets SIGHUP.

    Parameters
    ----------
    settings : of Ray Serve's for the deployment
    port : 0 takes a free one
    insecure : allow an address that others can reach though the service has no token
    address : of the cluster; see `ptprof.cluster.start`

    Raises
    ------
    RuntimeUnavailable : Ray is not installed
    UsageError : an address, a cluster, a setting, a runtime or a model that cannot be
    StudyError : nothing to serve, or replicas that do not start
    """
    logging.config.dictConfig(log_config())
    local = not (address or os.environ.get("RAY_ADDRESS"))
    insecure = insecure or service.token is not None
    cpus = _cpus(settings or {})
    with (
        stopped_by_signals(),
        start(address, cpus, object_store_bytes=OBJECT_STORE_BYTES, log_to_driver=True),
    ):
        from ptprof.serve.loading import find_models
        from ptprof.serve.ray import application

        # What is wrong with a name is told here in a line, and by a replica in pages.
        find_models(service.study, service.names, runtime=service.runtime)
        here = replace(service, study=Study(service.study.root.resolve()))
        target = application(here, settings)
        with _front(host, port, insecure, ends=local) as where:
            _run(target)
            if not local:
                logger.info("serving on %s until `serve shutdown`", where)
                return
            logger.info("serving on %s (Ctrl-C stops, SIGHUP deploys anew)", where)
            with _told(signal.SIGHUP) as again:
                while again.wait():
                    again.clear()
                    _redeploy(target)


@contextmanager
def _front(host: str, port: int, insecure: bool, ends: bool) -> Iterator[str]:
    """Start Ray Serve's proxies, if they are not there yet; gives their address.

    ``ends`` : Ray Serve ends with the block, once what is in flight is answered
    """
    from ray import serve
    from ray.serve.context import _get_global_client

    # Loading it, it set its own.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    running = _get_global_client(raise_if_no_controller_running=False)
    if running is not None:
        host, port = running.http_config.host, running.http_config.port
        if not insecure:
            check_private(host)
        yield url(host, port)
        return
    # Held until the proxy listens, so that the kernel gives it to nobody else meanwhile.
    with reserve(host, port, insecure=insecure) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        host, port = holder.getsockname()[:2]
        options = {"host": host, "port": port, "keep_alive_timeout_s": KEEP_ALIVE_S}
        serve.start(http_options=options, logging_config=SILENT)
        try:
            yield url(host, port)
        finally:
            if ends:
                # Waits for what is in flight; the proxies, which end with Ray, still have to hand it on.
                serve.delete(APPLICATION)
                time.sleep(LINGER_S)


@contextmanager
def _told(number: signal.Signals) -> Iterator[threading.Event]:
    """An event that is set each time this process gets the signal."""
    event = threading.Event()
    before = signal.signal(number, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(number, before)


def _redeploy(target: Application) -> None:
    """Replace what is served by the newest runs; where they do not start, what is left serves on."""
    try:
        _run(target)
        logger.info("deployed anew")
    except StudyError as error:
        logger.error("%s; the old ones that are left serve on", error)


def _run(target: Application) -> None:
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        serve.run(target, name=APPLICATION, logging_config=QUIET)
    except RuntimeError:
        failed = serve.status().applications[APPLICATION]
        told = "\n".join(part.message for part in (failed, *failed.deployments.values()))
        raise StudyError(f"the replicas do not start: {_reason(told)}") from None
    except RayServeException as error:
        raise UsageError(f"Ray Serve does not deploy it: {_reason(str(error))}") from None


def _reason(told: str) -> str:
    """Our own error in what Ray Serve tells of a failed replica, or its last line."""
    ours = re.findall(r"^ptprof\.errors\.\w+: (.+)$", told, flags=re.MULTILINE)
    return ours[-1] if ours else told.strip().rpartition("\n")[2]


def _cpus(settings: Mapping[str, Any]) -> int:
    """The CPUs that a local Ray is to have: enough for as many replicas as are asked for."""
    options = settings.get("ray_actor_options") or {}
    scaling = settings.get("autoscaling_config") or {}
    replicas = scaling.get("max_replicas") or settings.get("num_replicas")
    each = options.get("num_cpus", 1)
    if not isinstance(replicas, int) or not isinstance(each, int | float):
        return cores()
    return max(cores(), math.ceil(replicas * each))
