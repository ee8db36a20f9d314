"""The break-even point's interval once more, from the raw windows alone: a check of the algebraic one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ptprof import stats
from ptprof.amortise.candidate import Candidate

Array = np.ndarray[Any, np.dtype[np.float64]]


def break_even(a: Candidate, b: Candidate) -> tuple[float | None, float | None]:
    """The counts between which the two cost the same, by resampling the windows of both; None for no bound.

    The costs before the first query are taken as they are, and so are gains. Nothing of models without raw
    windows, or of which only one is dearer to begin with and dearer to ask in every resample.
    """
    if min(len(a.samples), len(b.samples)) < 2:
        return None, None
    once, training = (
        x.grams - y.grams for x, y in zip(a.lifetime.terms[:2], b.lifetime.terms[:2], strict=True)
    )
    extra = [c.lifetime.per_query.grams - float(np.mean(c.samples)) for c in (a, b)]
    every = math.inf if a.lifetime.retrain_every is None else a.lifetime.retrain_every

    def crossing(means: Array) -> Array:
        saved = means[1] + extra[1] - means[0] - extra[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            first = (once + training) / saved
            later = once / (saved - training / every)
        # Lines that part never meet, or meet beyond every count; so do those that retraining keeps apart.
        beyond = np.where(later > every, later, math.inf)
        return np.where((first > 0) & (first <= every), first, beyond)

    low, high = stats.bootstrap_interval([a.samples, b.samples], crossing)
    return (low if low < math.inf else None), (high if high < math.inf else None)
