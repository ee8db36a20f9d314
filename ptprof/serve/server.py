"""Running the app on this machine's own address."""

from __future__ import annotations

import contextlib
import copy
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG

from ptprof.errors import UsageError

logger = logging.getLogger("ptprof.serve")

# Clients keep their connection between forecasts; uvicorn's 5 s would close it while they think.
KEEP_ALIVE_S = 75
MAX_HEADERS_BYTES = 64 * 1024
SHUTDOWN_S = 60
BACKLOG = 2048


def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    authenticated: bool = False,
    insecure: bool = False,
) -> None:
    """Serve ``app`` until the process is told to stop; then finish what is in flight.

    Parameters
    ----------
    port : 0 takes a free one
    authenticated : whether the app asks for a token, and so may be reached from elsewhere
    insecure : allow such an address all the same

    Raises
    ------
    UsageError : an address that is not this machine's, that others can reach, or that is taken
    """
    with listen(host, port, insecure=insecure or authenticated) as listener:
        run(app, listener)


def run(app: ASGIApp, listener: socket.socket) -> None:
    """Serve ``app`` on a socket that listens; see `serve`."""
    server = http_server(app)
    logger.info("serving on %s (Ctrl-C stops)", url(*listener.getsockname()[:2]))
    with stopped_by_signals():
        # It repeats the signal once all is finished.
        server.run(sockets=[listener])


def url(host: str, port: int) -> str:
    """The address as a client takes it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """End the block well where SIGINT or SIGTERM ends it."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def listen(host: str, port: int, *, insecure: bool = False) -> socket.socket:
    """A socket that listens on ``host``; see `serve`."""
    listener = reserve(host, port, insecure=insecure)
    listener.listen(BACKLOG)
    # Connections inherit it. Without it the end of an answer waits for the delayed acknowledgement of
    # its beginning, 40 ms; asyncio sets it only on sockets that name their protocol, which these do not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def reserve(host: str, port: int, *, insecure: bool = False) -> socket.socket:
    """A socket that has the port, and does not listen; see `serve`."""
    family, address = _resolved(host, port)
    if not insecure:
        check_private(host)
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port whose last connections are still being closed is free.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind(address)
    except OSError as error:
        holder.close()
        raise UsageError(
            f"cannot listen on {host}, port {port}: {os.strerror(error.errno or 0)}; "
            "choose another with --host or --port"
        ) from None
    return holder


def check_private(host: str) -> None:
    """Raise UsageError for an address that other machines reach."""
    _, (address, _) = _resolved(host, 0)
    if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        raise UsageError(
            f"{host} can be reached from elsewhere, and the server asks nobody who they are: use 127.0.0.1, "
            "give it a token (PTPROF_TOKEN), or --insecure if everyone who reaches it may use it"
        )


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"{host!r} is not an address of this machine") from None
    return family, (str(address[0]), int(address[1]))


def http_server(app: ASGIApp) -> uvicorn.Server:
    """uvicorn, set up for ``app``."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=log_config(),
            access_log=False,
            # The other one takes headers of any size, and would be chosen where it happens to be installed.
            http="h11",
            h11_max_incomplete_event_size=MAX_HEADERS_BYTES,
            lifespan="on",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            server_header=False,
        )
    )


def log_config() -> dict[str, Any]:
    """For `logging.config.dictConfig`: to stderr goes what is wrong, and the server's own lines."""
    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"] = {
        "uvicorn": {"handlers": ["default"], "level": "WARNING", "propagate": False},
        "ptprof.serve": {"handlers": ["default"], "level": "INFO", "propagate": False},
    }
    return config
