"""What a server has answered."""

from __future__ import annotations

from ptprof.records.base import Record, Value


class ServedModelTotal(Value):
    """What a server has answered with one run: requests, and forecast steps of each initial state.

    Energy and emissions are those of the requests that were metered; ``unmetered_requests`` were not.
    """

    model: str
    run: str
    requests: int
    steps: int
    energy_j: float
    co2eq_g: float
    unmetered_requests: int


class ServedRecord(Record):
    """``served/<started>-<id>.json``: the running total of one server."""

    started: str
    updated: str
    models: tuple[ServedModelTotal, ...]
