"""How long queries wait for one of several workers: exact for arrivals at random and any times of service.

Calls arrive as a Poisson process and are dealt out to workers, each with a queue of its own, served in the
order of arrival. Dealt out at random, each worker sees a Poisson process of its own (M/G/1); in turn, every
c-th arrival, so that the times between them are Erlang's of order c. Served in a constant time, the latter is
the one queue before c workers, M/D/c: both solve Erlang's equation for it (G. J. Franx, Operations Research
Letters 29 (2001) 221). Where times of service differ, the mean wait of one queue is no longer than that of
turns (R. W. Wolff, J. Appl. Probab. 14 (1977) 884). Turns, being more even, wait no longer than chance.

The wait of such a queue is that of W = max(W + S − A, 0), S a time of service and A one between arrivals
(D. V. Lindley, Proc. Camb. Phil. Soc. 48 (1952) 277). Its distribution is computed on a lattice by Spitzer's
identity and three Fourier transforms (R. Grübel, Algorithm AS 265, Applied Statistics 40 (1991) 355).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy import special

Dispatch = Literal["round-robin", "random"]

#: Points of the lattice in a mean time of service, and in all; of the latter, half are for waits.
POINTS, SIZE = 32, 1 << 14
#: The longest response that is asked for, in points: beyond, a bound is as good as none.
LONGEST = SIZE // 8
#: The longest time of service, in points: where one is much longer than the mean, the lattice is coarser.
LONGEST_SERVICE = LONGEST // 2
#: Where masses are weighed by a growing exponential, it grows so much (in exponents) over the lattice.
STEEPEST = 60.0
#: Where so little use does not meet a bound, none does.
IDLE_ENOUGH = 1e-6

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Service:
    """Measured times of service (s), each as likely as the other."""

    times_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.times_s or not all(0 < time < math.inf for time in self.times_s):
            raise ValueError("times of service must be finite and above zero")

    @cached_property
    def mean_s(self) -> float:
        return math.fsum(self.times_s) / len(self.times_s)

    def scaled(self, factor: float) -> Service:
        """The same times, each ``factor`` times as long."""
        return Service(tuple(time * factor for time in self.times_s))

    def quantile(self, share: float) -> float:
        """The smallest time that at least ``share`` of them do not exceed: the response without a wait."""
        rank = max(math.ceil(len(self.times_s) * share - 1e-9), 1)
        return sorted(self.times_s)[rank - 1]


@dataclass(frozen=True)
class Queues:
    """Workers of one kind and how calls come to them; a call is of ``batch`` queries."""

    service: Service
    dispatch: Dispatch = "round-robin"
    batch: int = 1

    @cached_property
    def _lattice(self) -> _Lattice:
        return _Lattice(self.service)

    def utilisation(self, workers: int, queries_per_s: float) -> float:
        """The share of time that a worker is busy; 1 and above, it cannot keep up."""
        return queries_per_s * self.service.mean_s / (workers * self.batch)

    def exceeding(self, response_s: float, workers: int, queries_per_s: float) -> float:
        """The share of calls whose wait and service together take longer than ``response_s``."""
        return self._lattice.exceeding(response_s, self._waits(workers, queries_per_s))

    def quantile(self, share: float, workers: int, queries_per_s: float) -> float:
        """The response (s) that ``share`` of calls do not exceed; infinite where it is beyond the lattice."""
        waits = self._waits(workers, queries_per_s)
        low, high = 0.0, LONGEST * self._lattice.step_s
        if self._lattice.exceeding(high, waits) > 1 - share:
            return math.inf
        while high - low > 1e-4 * high:
            middle = (low + high) / 2
            above = self._lattice.exceeding(middle, waits) > 1 - share
            low, high = (middle, high) if above else (low, middle)
        return high

    def workers_needed(self, queries_per_s: float, bound_s: float, share: float) -> int | None:
        """The fewest workers with which ``share`` of calls are answered within ``bound_s``.

        None where no number suffices: the service alone takes longer.
        """
        if bound_s < self.service.quantile(share):
            return None
        bound_s = min(bound_s, LONGEST * self._lattice.step_s)

        def enough(workers: int) -> bool:
            return self.exceeding(bound_s, workers, queries_per_s) <= 1 - share

        few = self.least(queries_per_s)
        if enough(few):
            return few
        many = 2 * few
        while not enough(many):
            if self.utilisation(many, queries_per_s) < IDLE_ENOUGH:
                return None
            few, many = many, 2 * many
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if enough(middle) else (middle, many)
        return many

    def least(self, queries_per_s: float) -> int:
        """The fewest workers that can keep up at all, whatever deals out the calls."""
        return math.floor(self.utilisation(1, queries_per_s)) + 1

    def _waits(self, workers: int, queries_per_s: float) -> Array:
        if self.utilisation(workers, queries_per_s) >= 1:
            return np.ones(SIZE // 2)
        if self.dispatch == "random":
            return self._lattice.waits(1, queries_per_s / (workers * self.batch))
        return self._lattice.waits(workers * self.batch, queries_per_s)


def filling_s(batch: int, queries_per_s: float, share: float) -> float:
    """How long the first query of a batch waits for the last, at most, in a share of ``share`` (s).

    The sum of ``batch`` − 1 times between arrivals at random, which is Erlang's.
    """
    return float(special.gammaincinv(batch - 1, share)) / queries_per_s if batch > 1 else 0.0


class _Lattice:
    """Times as whole numbers of ``step_s``; what lies between two is shared out so that means stay."""

    def __init__(self, service: Service) -> None:
        times = np.asarray(service.times_s)
        self.step_s = max(service.mean_s / POINTS, float(times.max()) / LONGEST_SERVICE)
        self.times = times / self.step_s
        below = np.floor(self.times).astype(int)
        above = (self.times - below) / times.size
        self.masses = np.bincount(below, 1 / times.size - above, SIZE)
        self.masses += np.bincount(below + 1, above, SIZE)

    def waits(self, order: int, rate_per_s: float) -> Array:
        """P(W > j) for every point j, where calls come in times of Erlang's order and rate.

        E z^W = K exp(Σ_{j > 0} a_j z^j), the a_j those of −log(1 − E z^X) with positive powers. On a circle
        a little wider than that of unity E z^X is below 1, so that its logarithm is smooth there.
        """
        rate = rate_per_s * self.step_s
        tilt = self._tilt(order, rate)
        weights = np.exp(tilt * np.arange(SIZE))
        gaps = np.append(_erlang(order, rate), np.zeros(SIZE // 2 - 1))
        of_walk = np.fft.rfft(self.masses * weights) * np.conj(np.fft.rfft(gaps / weights))
        if of_walk[0].real >= 1:
            return np.ones(SIZE // 2)
        powers = -np.fft.irfft(np.log1p(-of_walk), SIZE)
        powers[0] = powers[SIZE // 2 :] = 0.0
        masses = (np.fft.irfft(np.exp(np.fft.rfft(powers)), SIZE) / weights)[: SIZE // 2]
        masses = np.maximum(masses, 0.0) / masses.sum()
        # A mass stands for what lies half to its left and half to its right; at zero nothing lies left.
        cumulated = np.cumsum(masses) - masses / 2
        cumulated[0] = masses[0]
        tails: Array = np.clip(1 - cumulated, 0.0, 1.0)
        return tails

    def _tilt(self, order: int, rate: float) -> float:
        """The logarithm of a radius at which E z^X is about least, and below 1: of some, the best."""
        tilts = STEEPEST / SIZE / 2.0 ** np.arange(24)
        of_service = np.log(np.exp(np.outer(tilts, self.times)).mean(axis=1))
        return float(tilts[np.argmin(of_service - order * np.log1p(tilts / rate))])

    def exceeding(self, response_s: float, waits: Array) -> float:
        """P(W + S > response), W as ``waits`` has it."""
        left = response_s / self.step_s - self.times
        tails = np.interp(left, np.arange(waits.size), waits)
        return float(np.where(left < -1e-9, 1.0, tails).mean())


def _erlang(order: int, rate: float) -> Array:
    """Masses of Erlang's distribution on the lattice, its mean kept; what lies beyond stands at the end."""
    points = np.arange(SIZE // 2 + 1)
    # E max(A − j, 0)
    beyond = order / rate * special.gammaincc(order + 1, rate * points)
    beyond -= points * special.gammaincc(order, rate * points)
    kept = np.append(1.0, -np.diff(beyond))  # P(A^h > j), from j = −1 on
    masses: Array = np.append(-np.diff(kept), kept[-1])
    return masses
