"""Serving a study: its models, the energy of this machine, the running total, and the page."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptprof.energy.cpu import CPU_WATTS_PER_CORE
from ptprof.errors import UsageError
from ptprof.serve.batching import Batching
from ptprof.serve.limits import Limits
from ptprof.serve.price import Price
from ptprof.serve.server import listen
from ptprof.serve.supervisor import supervise
from ptprof.study import Study


@dataclass(frozen=True, kw_only=True)
class Service:
    """What of a study is served, and how.

    Attributes
    ----------
    names : of the models, the newest run of each; empty: of all that can be served
    token : what clients have to send as bearer token; None: nothing
    memory_bytes : of the weights that may be in memory at once; None: no limit
    """

    study: Study
    names: tuple[str, ...] = ()
    runtime: str = "onnxruntime"
    device: str = "auto"
    token: str | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    memory_bytes: int | None = None
    price: Price = field(default_factory=Price)
    watts_per_core: float = CPU_WATTS_PER_CORE

    def __post_init__(self) -> None:
        token = self.token
        if token is not None and not (
            token and token.isascii() and token.isprintable() and token == token.strip()
        ):
            raise UsageError("a token is printable ASCII with no space at its ends, and not empty")


def serve_study(
    service: Service, *, host: str = "127.0.0.1", port: int = 8000, insecure: bool = False
) -> None:
    """Serve until this process is told to stop; then finish what is in flight.

    The models run in a process of their own, which is started anew when it dies.

    Parameters
    ----------
    port : 0 takes a free one
    insecure : allow an address that others can reach though the service has no token

    Raises
    ------
    UsageError : an address that is not this machine's, that others can reach, or that is taken; a runtime or
        model that is not known
    StudyError, RuntimeUnavailable : nothing to serve, or a model that cannot be opened
    """
    with listen(host, port, insecure=insecure or service.token is not None) as listener:
        supervise("ptprof.serve.process", service, listener)
