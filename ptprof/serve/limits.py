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
    max_response_bytes : of the tensors of one response that is not streamed; a value in JSON counts 16 bytes
    max_stream_bytes : of the tensors of one streamed response; None: no limit, it waits for who reads it
    max_rollout_steps : of one request, streamed or not
    max_queue : requests per model that may wait, those that run not counted
    idle_timeout_s : silence of a client, in the middle of what it sends or is sent, before it is given up
    allow_nonfinite : let NaN and infinity in an input through to the model
    """

    max_request_bytes: int = 64 * MIB
    max_response_bytes: int = 256 * MIB
    max_stream_bytes: int | None = None
    max_rollout_steps: int = 10_000
    max_queue: int = 16
    idle_timeout_s: float = 30.0
    allow_nonfinite: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not isinstance(value, bool) and not value > 0:
                raise UsageError(f"{field.name} must be greater than 0, and is {value}")
