"""How much one client may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ptprof.errors import UsageError

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on requests and responses.

    Attributes
    ----------
    max_request_bytes : of a request's body as it comes, and again once it is decompressed; Triton's default
    max_response_bytes : of the tensors of one response; a value in JSON counts 16 bytes
    max_queue : requests per model that may wait, the one that runs not counted
    idle_timeout_s : silence in the middle of a request's body before it is given up
    """

    max_request_bytes: int = 64 * MIB
    max_response_bytes: int = 256 * MIB
    max_queue: int = 16
    idle_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise UsageError(f"{field.name} must be greater than 0, and is {value}")
