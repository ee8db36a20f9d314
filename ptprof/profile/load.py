"""An open loop: queries that arrive at random, whether the last one has been answered or not.

Latency counts from when a query was meant to be sent, so that the wait behind a slow one is not left out (G.
Tene's "coordinated omission"; wrk2 measures so too). A closed loop, which asks again when it is answered,
knows the time of service only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from ptprof import stats
from ptprof.energy import Clock, EnergyMeter
from ptprof.errors import UsageError
from ptprof.profile import foreign
from ptprof.profile.foreign import CpuUse
from ptprof.profile.scenarios import Scenario
from ptprof.records import Load, Queue, Window

#: How many times the duration of the arrivals is waited for their answers.
PATIENCE = 2.0
#: A generator that is later than this share of the time of service disturbs the latencies.
LATE = 0.1


@dataclass(frozen=True)
class Served:
    """What became of queries in the order of their arrival: seconds of each that was answered, and the queue.

    ``responses_s`` count from the intended send to the answer. ``latest_start_s`` is how late the generator
    was at most for a query that nothing was ahead of.
    """

    responses_s: tuple[float, ...]
    busy_s: float
    latest_start_s: float
    backlog: int
    unanswered: int


def arrivals(rate_per_s: float, duration_s: float, seed: int) -> tuple[float, ...]:
    """When queries are to be sent (s): a Poisson process of ``rate_per_s``, the same for the same seed.

    Raises
    ------
    UsageError : a rate or duration that is not above zero
    """
    if not (0 < rate_per_s < float("inf") and 0 < duration_s < float("inf")):
        raise UsageError(f"a load needs a rate and a duration above 0, not {rate_per_s:g} and {duration_s:g}")
    return tuple(_poisson(random.Random(seed), rate_per_s, duration_s))


def serve(call: Callable[[], None], due_s: Sequence[float], duration_s: float, clock: Clock) -> Served:
    """Answer each query when it is due or, where the last one is not done by then, as soon as it is.

    Parameters
    ----------
    due_s : when each is meant to be sent, rising
    duration_s : how long queries arrive; answers are waited for `PATIENCE` times as long
    """
    begun = clock.now()
    responses: list[float] = []
    busy_s = late_s = free_s = 0.0
    backlog = 0
    for due in due_s:
        if (wait := begun + due - clock.now()) > 0:
            clock.sleep(wait)
        started = clock.now() - begun
        if started > PATIENCE * duration_s:
            break
        call()
        finished = clock.now() - begun
        responses.append(finished - due)
        busy_s += finished - started
        late_s = max(late_s, started - max(due, free_s))
        free_s = finished
        backlog += finished > duration_s
    unanswered = len(due_s) - len(responses)
    return Served(tuple(responses), busy_s, late_s, backlog + unanswered, unanswered)


def measure_window(
    call: Callable[[], None],
    scenario: Scenario,
    meter: EnergyMeter,
    clock: Clock,
    *,
    seed: int,
    origin_s: float = 0.0,
    cpu_use: Callable[[], CpuUse | None] = foreign.cpu_use,
) -> Window:
    """One window of load: arrivals of ``scenario.rate_per_s`` for ``scenario.duration_s``, then the rest of
    the queue.

    The window lasts until the arrivals' time is over and all are answered, and its energy is that of all this
    time, waiting included: that is what a query costs at this rate. ``call`` answers one and returns when its
    work is done.

    Parameters
    ----------
    seed : of the arrivals; every candidate meets the same ones in the same window
    origin_s : what ``start_s`` counts from, on ``clock``

    Raises
    ------
    UsageError : no rate or duration, or one in which nothing arrives
    """
    rate, duration_s = asked(scenario)
    due = arrivals(rate, duration_s, seed)
    if not due:
        raise UsageError(
            f"no query arrives at {rate:g} per second in {duration_s:g} s: give a longer --duration"
        )
    call()
    before = cpu_use()
    with meter.window() as energy:
        begun = clock.now()
        served = serve(call, due, duration_s, clock)
        if (rest := begun + duration_s - clock.now()) > 0:
            clock.sleep(rest)
        ended = clock.now()
    return Window(
        start_s=begun - origin_s,
        duration_s=ended - begun,
        calls=len(served.responses_s),
        latencies_s=served.responses_s,
        energy=energy.breakdown(),
        queue=Queue(
            busy_s=served.busy_s,
            latest_start_s=served.latest_start_s,
            backlog=served.backlog,
            unanswered=served.unanswered,
        ),
        flags=foreign.flags(before, cpu_use(), clock.now() - begun),
    )


def asked(scenario: Scenario) -> tuple[float, float]:
    """The rate (per s) and duration (s) of a load; UsageError where the scenario has none."""
    if scenario.rate_per_s is None or scenario.duration_s is None:
        raise UsageError("a load needs a rate: give --rate QUERIES_PER_SECOND")
    return scenario.rate_per_s, scenario.duration_s


def summarise(scenario: Scenario, windows: Sequence[Window]) -> Load:
    """What the queue did; the time of service is the mean over windows, with Student's interval."""
    rate, duration_s = asked(scenario)
    queues = [(window, window.queue) for window in windows if window.queue is not None and window.calls]
    service_s = stats.t_interval([queue.busy_s / window.calls for window, queue in queues])
    offered = rate * service_s.value
    return Load(
        rate_per_s=rate,
        duration_s=duration_s,
        offered_load=offered,
        utilisation=sum(q.busy_s for _, q in queues) / sum(w.duration_s for w, _ in queues),
        service_s=service_s,
        backlog=fmean(q.backlog for _, q in queues),
        unanswered=sum(q.unanswered for _, q in queues),
        stable=offered < 1,
    )


def flags(load: Load, windows: Sequence[Window]) -> tuple[str, ...]:
    """What to mind of a load, in words: a queue that grows without end, a generator that was late."""
    found = []
    if not load.stable:
        capacity = 1 / load.service_s.value
        found.append(
            f"unstable: {load.rate_per_s:g} calls/s offered, {capacity:.3g} can be answered;"
            " latencies grow with the duration"
        )
    latest_s = max((w.queue.latest_start_s for w in windows if w.queue is not None), default=0.0)
    if latest_s > LATE * load.service_s.value:
        found.append(f"calls were sent up to {latest_s * 1e3:.2g} ms late")
    return tuple(found)


def _poisson(rng: random.Random, rate_per_s: float, duration_s: float) -> Iterator[float]:
    at = rng.expovariate(rate_per_s)
    while at < duration_s:
        yield at
        at += rng.expovariate(rate_per_s)
