"""What a measurement may hold beside latency, throughput and energy."""

from __future__ import annotations

from ptprof.records.base import Interval, Value


class Percentile(Value):
    """The latency that ``p`` per cent of calls do not exceed; None where ``samples`` are too few to say."""

    p: float
    seconds: float | None
    low: float | None
    high: float | None
    samples: int


class Work(Value):
    """Floating-point operations and bytes of one step of a call, and the most that the device can do of each.

    None is what could not be counted or measured.
    """

    flops: float | None
    bytes: float
    peak_flops_per_s: float | None
    peak_bytes_per_s: float | None


class ColdStart(Value):
    """From nothing to the first answer, part by part; means over fresh processes."""

    repetitions: int
    start_s: Interval
    import_s: Interval
    load_s: Interval
    prepare_s: Interval
    first_query_s: Interval
    next_query_s: Interval


class Queue(Value):
    """What became of the queries that were meant to be sent in one window.

    ``busy_s`` is the time spent answering, ``latest_start_s`` how late the last query was begun, ``backlog``
    how many waited when the window ended, and ``unanswered`` how many never were.
    """

    busy_s: float
    latest_start_s: float
    backlog: int
    unanswered: int


class Load(Value):
    """Queries that arrive at random, whether the last one is answered or not: ``rate_per_s`` of them.

    ``offered_load`` is the work that arrives over the work that can be done, ``utilisation`` the share of
    time spent answering. Latencies of such a measurement count from when a query was meant to be sent.
    """

    rate_per_s: float
    duration_s: float
    offered_load: float
    utilisation: float
    service_s: Interval
    backlog: float
    unanswered: int
    stable: bool


class Paper(Value):
    """The paper's own protocol: its queries, its tool's figures, and ours beside them.

    ``carbontracker_j`` is without the tool's PUE; ``missing`` says why it has no figure.
    """

    queries: int
    repetitions: int
    load_s: Interval
    intensity_g_per_kwh: float
    pue: float
    ours_g: Interval | None
    carbontracker_j: Interval | None
    carbontracker_g: Interval | None
    missing: str | None
    notes: tuple[str, ...] = ()
