"""What the page's script computes the answer from: each model's line, and the errors of every pair."""

from __future__ import annotations

from typing import Any

from ptprof.amortise.amortising import AmortiseReport
from ptprof.records import Interval


def models(report: AmortiseReport) -> list[dict[str, Any]]:
    """The line of each model, ``once + n(N) · training + N · per query`` (g), and its independent errors."""
    return [
        {"name": model.model, "error": model.error and triple(model.error), **model.lines.model_dump()}
        for model in report.models
    ]


def differences(report: AmortiseReport) -> list[list[dict[str, Any]]]:
    """Per model its difference from each of those after it, without the errors that the two share."""
    pairs = iter(report.break_even)
    count = len(report.models)
    return [[next(pairs).difference.model_dump() for _ in range(i + 1, count)] for i in range(count)]


def triple(interval: Interval) -> list[float | None]:
    """Value, low and high."""
    return [interval.value, interval.low, interval.high]
