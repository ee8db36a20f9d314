"""Intervals: of a mean, of a median, of a sum, of a ratio of two noisy differences. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from ptprof.records import Interval

CONFIDENCE = 0.95


def t_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean of independent samples with Student's interval.

    ``mean ± t(n - 1) · s / sqrt(n)`` with the sample standard deviation ``s`` (n - 1 in the denominator);
    W. S. Gosset, Biometrika 6 (1908) 1. One sample has no interval: ``low`` and ``high`` are None.

    Raises
    ------
    ValueError : no sample, or one that is not finite
    """
    values = _finite(samples)
    mean = float(values.mean())
    if values.size == 1:
        return Interval(value=mean)
    half = t_half_width(float(values.std(ddof=1)), values.size, confidence)
    return Interval(value=mean, low=mean - half, high=mean + half)


def t_half_width(std: float, count: int, confidence: float = CONFIDENCE) -> float:
    """Half the width of Student's interval of the mean of ``count`` samples of standard deviation ``std``.

    Raises
    ------
    ValueError : fewer than two samples, or a negative deviation
    """
    if count < 2 or not std >= 0:
        raise ValueError(
            f"an interval of a mean needs at least two samples and std >= 0, not {count} and {std}"
        )
    return t_quantile(count - 1, confidence) * std / math.sqrt(count)


def t_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """The two-sided quantile of Student's t: a share ``confidence`` of it lies within plus or minus this."""
    return float(special.stdtrit(degrees, 0.5 + confidence / 2))


@dataclass(frozen=True)
class SeriesMean:
    """The mean of samples that followed each other in time.

    ``std`` is the deviation of one sample, ``count`` how many there were, ``worth`` the number of independent
    samples that would tell as much.
    """

    value: float
    std: float
    count: int
    worth: float

    def half_width(self, future: float = math.inf, confidence: float = CONFIDENCE) -> float | None:
        """Half the width of the interval of the mean of the next ``future`` samples; None of one sample.

        Of an endless future, it is the interval of the expected value.
        """
        if self.count < 2:
            return None
        # What is correlated here is correlated there: its mean varies more, by the same factor.
        variance = self.std**2 * self.count / self.worth * (1 / self.count + 1 / future)
        return t_quantile(self.worth - 1, confidence) * math.sqrt(variance)


#: A correlation from sample to sample that is larger is a drift, which no number of samples averages out.
LARGEST_CORRELATION = 0.9
#: Below, a correlation from sample to sample cannot be told.
LEAST_OF_A_SERIES = 4
#: A series is not counted as less than this, whatever its correlation: Student's quantile would run away.
LEAST_WORTH = 3.0


def series_mean(samples: Sequence[float]) -> SeriesMean:
    """The mean of samples that may hang together from one to the next.

    As n samples of a first-order autoregression of coefficient r they are worth ``n (1 - r) / (1 + r)``
    independent ones (F. W. Zwiers and H. von Storch, J. Climate 8 (1995) 336). r is the correlation of
    neighbours, its bias of ``(1 + 4 r) / n`` taken out (F. H. C. Marriott and J. A. Pope, Biometrika 41
    (1954) 390), and one standard error ``1 / sqrt(n)`` on top: where sampling stops once the interval is
    short enough, it stops where r happens to look small. Independent samples pay for that with an interval
    that is too wide, most when they are few.

    Raises
    ------
    ValueError : no sample, or one that is not finite
    """
    values = _finite(samples)
    count, mean = values.size, float(values.mean())
    deviations = values - mean
    squares = float(deviations @ deviations)
    if count < 2 or squares == 0:
        return SeriesMean(mean, 0.0, count, float(count))
    r = 0.0
    if count >= LEAST_OF_A_SERIES:
        r = float(deviations[1:] @ deviations[:-1]) / squares
        r += (1 + 4 * r) / count + 1 / math.sqrt(count)
        r = min(max(r, 0.0), LARGEST_CORRELATION)
    worth = max(count * (1 - r) / (1 + r), min(count, LEAST_WORTH))
    # Correlated samples scatter less about their own mean than about the true one.
    std = math.sqrt(squares / (count - count / worth))
    return SeriesMean(mean, std, count, worth)


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The median with its distribution-free interval between two order statistics.

    Between the k-th smallest and the k-th largest of n samples the true median lies with probability
    ``1 - 2 P(Binomial(n, 1/2) < k)``; the largest k that keeps ``confidence`` is taken (H. A. David and
    H. N. Nagaraja, Order Statistics, 2003, section 7.1). At 95 % there is none below six samples:
    ``low`` and ``high`` are None.

    Raises
    ------
    ValueError : no sample, or one that is not finite
    """
    values = np.sort(_finite(samples))
    median = float(np.median(values))
    tail = special.bdtr(np.arange(values.size // 2 + 1), values.size, 0.5)
    k = int(np.count_nonzero(tail <= (1 - confidence) / 2))
    if k == 0:
        return Interval(value=median)
    return Interval(value=median, low=float(values[k - 1]), high=float(values[-k]))


def quadrature(half_widths: Iterable[float]) -> float:
    """The half-width of a sum of independent errors: the root of the sum of squares."""
    return math.hypot(*half_widths)


@dataclass(frozen=True)
class FiellerSet:
    """The values of a ratio that two noisy numbers do not rule out.

    ``kind`` is ``between`` (from ``low`` to ``high``, None for no bound on that side), ``outside``
    (up to ``low``, and from ``high`` on), ``all`` or ``none``.
    """

    kind: Literal["between", "outside", "all", "none"]
    low: float | None = None
    high: float | None = None


def fieller(
    numerator: float,
    denominator: float,
    numerator_variance: float,
    denominator_variance: float,
    covariance: float = 0.0,
) -> FiellerSet:
    """Fieller's confidence set of ``numerator / denominator``.

    All ratios r with ``(numerator - r denominator)² <= Var(numerator - r denominator)``, each variance the
    square of a half-width, so that the set has the confidence of the half-widths (E. C. Fieller,
    J. R. Statist. Soc. B 16 (1954) 175). It is an interval where the denominator is told from zero, and
    otherwise open to one side, to both, or everything.

    Raises
    ------
    ValueError : a variance below zero, or a figure that is not finite
    """
    _finite([numerator, denominator, numerator_variance, denominator_variance, covariance])
    if numerator_variance < 0 or denominator_variance < 0:
        raise ValueError("a variance cannot be below zero")
    # a r² - 2 b r + c <= 0
    a = denominator**2 - denominator_variance
    b = numerator * denominator - covariance
    c = numerator**2 - numerator_variance
    # b² - a c, multiplied out: the large terms cancel exactly, so that no variance gives exactly zero.
    discriminant = (
        numerator**2 * denominator_variance
        + denominator**2 * numerator_variance
        - 2 * numerator * denominator * covariance
        + covariance**2
        - numerator_variance * denominator_variance
    )
    if a == 0:
        return _half_line(b, c)
    if a < 0 and discriminant <= 0:
        return FiellerSet("all")
    # The ratio itself is always in the set: a discriminant below zero is rounding.
    root = math.sqrt(max(discriminant, 0.0))
    larger = b + math.copysign(root, b)
    ends = sorted((larger / a, c / larger if larger else 0.0))
    return FiellerSet("between" if a > 0 else "outside", *ends)


def _half_line(b: float, c: float) -> FiellerSet:
    """The set where ``c <= 2 b r``."""
    if b == 0:
        return FiellerSet("all" if c <= 0 else "none")
    end = c / (2 * b)
    return FiellerSet("between", low=end) if b > 0 else FiellerSet("between", high=end)


def bootstrap_interval(
    groups: Sequence[Sequence[float]],
    statistic: Callable[[np.ndarray[Any, np.dtype[np.float64]]], np.ndarray[Any, np.dtype[np.float64]]],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """The bootstrap's interval of a statistic of the means of independent groups of samples.

    Each group is resampled with replacement; ``statistic`` takes the means ``(G, resamples)`` and gives
    ``(resamples,)``, infinite values included. The percentiles are widened for small groups, so that the
    interval of a plain mean is about Student's (T. C. Hesterberg, The American Statistician 69 (2015) 371).

    Raises
    ------
    ValueError : a group of fewer than two samples, or one that is not finite
    """
    generator = np.random.default_rng(seed)
    arrays = [_finite(group) for group in groups]
    least = min(array.size for array in arrays)
    if least < 2:
        raise ValueError("a bootstrap needs at least two samples of each group")
    means = np.stack(
        [a[generator.integers(0, a.size, size=(resamples, a.size))].mean(axis=1) for a in arrays]
    )
    tail = float(special.ndtr(-math.sqrt(least / (least - 1)) * t_quantile(least - 1, confidence)))
    # No interpolation: between an end and infinity there is nothing.
    low, high = np.quantile(statistic(means), [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def _finite(samples: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = np.asarray(samples, dtype=np.float64).reshape(-1)
    if values.size == 0:
        raise ValueError("no samples")
    if not np.isfinite(values).all():
        raise ValueError("samples must be finite numbers")
    return values


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of ``points`` no other one beats in both coordinates, the smaller being the better.

    Their indices, by rising first coordinate and so falling second; of equal points the first one.

    Raises
    ------
    ValueError : a coordinate that is NaN
    """
    if any(math.isnan(coordinate) for point in points for coordinate in point):
        raise ValueError("points must not be NaN")
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: points[i]):
        if not front or points[index][1] < points[front[-1]][1]:
            front.append(index)
    return front


def geometric_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The geometric mean of positive samples with Student's interval of their logarithms.

    Raises
    ------
    ValueError : no sample, or one that is not finite and above zero
    """
    values = _finite(samples)
    if not (values > 0).all():
        raise ValueError("samples must be above zero")
    of_logs = t_interval([math.log(value) for value in values], confidence)
    if of_logs.low is None or of_logs.high is None:
        return Interval(value=math.exp(of_logs.value))
    return Interval(value=math.exp(of_logs.value), low=math.exp(of_logs.low), high=math.exp(of_logs.high))


#: Groups whose means scatter so much by chance in one case of a hundred are taken to differ.
GROUPS_DIFFER = 0.01


def grouped_interval(
    samples: Sequence[float], groups: Sequence[int], confidence: float = CONFIDENCE
) -> Interval:
    """The mean of samples that were taken in groups, with Student's interval.

    Where the means of the groups differ by more than the scatter within them explains (the F test of the
    one-way analysis of variance; R. A. Fisher, Statistical Methods for Research Workers, 1925, chapter VII),
    samples of a group are not independent: each group then counts as one sample, its mean.

    Raises
    ------
    ValueError : no sample, or one that is not finite
    """
    values = _finite(samples)
    numbers = np.asarray(groups)
    members = [values[numbers == number] for number in np.unique(numbers)]
    means = [float(one.mean()) for one in members]
    between, within = len(members) - 1, values.size - len(members)
    if between >= 1 and within >= 1:
        scatter = sum(float(((one - one.mean()) ** 2).sum()) for one in members) / within
        apart = sum(one.size * (float(one.mean()) - float(values.mean())) ** 2 for one in members) / between
        if scatter > 0 and special.fdtrc(between, within, apart / scatter) < GROUPS_DIFFER:
            return t_interval(means, confidence)
    return t_interval(samples, confidence)
