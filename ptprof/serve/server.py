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
    address, bound = listener.getsockname()[:2]
    url = f"http://[{address}]:{bound}" if ":" in address else f"http://{address}:{bound}"
    logger.info("serving on %s (Ctrl-C stops)", url)
    with _stopped_by_signals():
        server.run(sockets=[listener])


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """End the block well where SIGINT or SIGTERM ends it: uvicorn repeats the signal once all is finished."""
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
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"{host!r} is not an address of this machine") from None
    if not insecure and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise UsageError(
            f"{host} can be reached from elsewhere, and the server asks nobody who they are: use 127.0.0.1, "
            "give it a token (PTPROF_TOKEN), or --insecure if everyone who reaches it may use it"
        )
    try:
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}: {os.strerror(error.errno or 0)}; "
            "choose another with --host or --port"
        ) from None
    # Connections inherit it. Without it the end of an answer waits for the delayed acknowledgement of
    # its beginning, 40 ms; asyncio sets it only on sockets that name their protocol, which these do not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def http_server(app: ASGIApp) -> uvicorn.Server:
    """uvicorn, set up for ``app``; it logs to stderr what goes wrong, and the server's own lines."""
    log: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    log["loggers"] = {
        "uvicorn": {"handlers": ["default"], "level": "WARNING", "propagate": False},
        "ptprof.serve": {"handlers": ["default"], "level": "INFO", "propagate": False},
    }
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=log,
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
