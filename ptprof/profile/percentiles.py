"""Percentiles of latencies: only those that the number of samples can bear, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import special

from ptprof import stats
from ptprof.records import Interval, Percentile, Window
from ptprof.stats import CONFIDENCE, median_interval

#: What is reported, in per cent.
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
#: MLPerf's early stopping estimates a percentile with this confidence, from runs that tolerate so many
#: queries beyond it: MLCommons' inference rules, appendix "Early Stopping". One is tolerated here, so that
#: the estimate does not hang on the slowest call alone.
EARLY_STOPPING_CONFIDENCE = 0.99
BEYOND = 1


@cache
def samples_needed(p: float) -> int:
    """The least number of samples for the ``p``-th percentile: 64 for 90, 662 for 99, 6,636 for 99.9.

    It is the smallest n with ``P(Binomial(n, 1 - p / 100) <= 1) <= 0.01``: with fewer samples, too few are to
    be expected beyond the percentile to say where it is. The median is given of one sample or more.
    """
    if p <= 50:
        return 1
    beyond, least = 1 - p / 100, 1 - EARLY_STOPPING_CONFIDENCE
    low, high = BEYOND, BEYOND + 1
    while special.bdtr(BEYOND, high, beyond) > least:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if special.bdtr(BEYOND, middle, beyond) <= least else (middle, high)
    return high


def percentiles(latencies_s: Sequence[float], unanswered: int = 0) -> tuple[Percentile, ...]:
    """The percentiles of ``latencies_s`` (s), each between two order statistics at 95 %.

    A percentile is the smallest sample that at least ``p`` % do not exceed; the median of an even number lies
    between two. Its interval is distribution-free:
    of n samples the true percentile lies below the k-th smallest with probability ``P(Binomial(n, p / 100) <
    k)`` (H. A. David and H. N. Nagaraja, Order Statistics, 2003, section 7.1), samples taken as independent.
    One with too few samples, or that falls among those unanswered, has ``seconds`` None; a bound that no
    sample can give is None.

    Parameters
    ----------
    unanswered : how many more had no answer when the measuring ended: longer than any that had
    """
    ordered = sorted(latencies_s)
    count = len(ordered) + unanswered
    return tuple(_percentile(ordered, count, p) for p in PERCENTILES)


def _percentile(ordered: Sequence[float], count: int, p: float) -> Percentile:
    share = p / 100
    # Binary fractions must not lift a whole rank to the next: 0.9 · 70 is 63.
    rank = max(math.ceil(count * share - 1e-9), 1)
    if count < samples_needed(p) or rank > len(ordered):
        return Percentile(p=p, seconds=None, low=None, high=None, samples=count)
    if p == 50 and count == len(ordered):
        median = median_interval(ordered)
        return Percentile(p=p, seconds=median.value, low=median.low, high=median.high, samples=count)
    below = special.bdtr(np.arange(count + 1), count, share)
    tail = (1 - CONFIDENCE) / 2
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail)) + 1
    return Percentile(
        p=p,
        seconds=ordered[rank - 1],
        low=ordered[low - 1] if 1 <= low <= len(ordered) else None,
        high=ordered[high - 1] if high <= len(ordered) else None,
        samples=count,
    )


def median_latency(windows: Sequence[Window], confidence: float = CONFIDENCE) -> Interval:
    """The median over all calls, its interval the wider of two: over calls, and over the windows' medians.

    Calls of one window are disturbed together: as independent samples they would promise too much. Student's
    interval of the windows' medians is that of processes where those differ.
    """
    found = median_interval([latency for window in windows for latency in window.latencies_s])
    if found.low is None or found.high is None or len(windows) == 1:
        return found
    medians = [float(np.median(window.latencies_s)) for window in windows]
    of_windows = stats.grouped_interval(medians, [window.process for window in windows], confidence)
    if of_windows.low is None or of_windows.high is None:
        return found
    low, high = min(found.low, of_windows.low), max(found.high, of_windows.high)
    return Interval(value=found.value, low=max(low, 0.0), high=high)
