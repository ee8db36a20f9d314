"""A connection to a Ray cluster, or a local Ray of our own."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ptprof.environment import cores
from ptprof.errors import RuntimeUnavailable, UsageError

#: Ray's own words: start a new one here.
LOCAL = "local"
#: Bytes of the object store of a local Ray: through it go records, not arrays.
OBJECT_STORE_BYTES = 128 << 20
#: Ray's workers make way for whatever else runs, unless it starts with this: they measure.
AS_NICE_AS_OTHERS = ("RAY_worker_niceness", "0")
#: How long (s) a cluster may take to accept a connection.
PATIENCE_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def start(
    address: str | None = None,
    num_cpus: int | None = None,
    *,
    log_to_driver: bool = False,
    object_store_bytes: int = OBJECT_STORE_BYTES,
) -> Iterator[str]:
    """Connect to the cluster at ``address``, at RAY_ADDRESS where it is None; without either, start Ray here.

    Ray is told to report nothing about its use. One that is started here listens to this machine alone, has
    ``num_cpus`` CPUs (all cores for None) and no dashboard, and ends with the block; a cluster is only left.
    Where this process is connected already, that connection is taken and kept. Yields the address.

    Parameters
    ----------
    log_to_driver : whether what workers write comes to this process's standard error
    object_store_bytes : of a Ray that is started here

    Raises
    ------
    RuntimeUnavailable : Ray is not installed
    UsageError : no cluster answers at the address
    """
    # Ray reads it when it starts anything.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise RuntimeUnavailable("Ray is not installed: pip install 'ptprof[cluster]'") from None
    if ray.is_initialized():
        yield ray.get_runtime_context().gcs_address
        return
    address = address or os.environ.get("RAY_ADDRESS") or LOCAL
    if "://" in address:
        raise UsageError(
            f"{address}: a Ray client cannot follow a sweep; run ptprof on a machine of the cluster, with"
            " --address auto or HOST:6379"
        )
    _knock(address)
    from ray._private import ray_constants

    # What Ray asks before it takes an address that other machines reach.
    ray_constants.ENABLE_RAY_CLUSTER = not (address == LOCAL or address.startswith("127."))
    if address == LOCAL:
        os.environ.setdefault(*AS_NICE_AS_OTHERS)
    here = {
        "num_cpus": num_cpus or cores(),
        "include_dashboard": False,
        "object_store_memory": object_store_bytes,
    }
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        ray.init(
            address=address,
            log_to_driver=log_to_driver,
            logging_level="ERROR",
            **(here if address == LOCAL else {}),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _nobody(address, str(error).split("\n", maxsplit=1)[0]) from None
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise UsageError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    if not port.isdecimal():
        raise UsageError(f"a cluster's address is auto or HOST:PORT, such as 10.0.0.1:6379, not {address!r}")
    try:
        socket.create_connection((host, int(port)), PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise _nobody(address, str(error)) from None


def _nobody(address: str, reason: str) -> UsageError:
    return UsageError(f"no Ray cluster answers at {address} ({reason}): start one with `ray start --head`")
