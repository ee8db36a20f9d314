"""How far a model's forecasts are off, as one number that costs can be set against."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast, get_args

from ptprof import stats
from ptprof.errors import UsageError, unknown
from ptprof.records import Accuracy, Interval, RunRecord

Score = Literal["vrmse", "nrmse", "pearson_r"]


@dataclass(frozen=True)
class Metric:
    """A score, the mean over the fields: of one step, or of step number ``step`` of a rollout."""

    score: Score
    step: int | None = None

    def __str__(self) -> str:
        return self.score if self.step is None else f"{self.score}@{self.step}"

    @property
    def error_name(self) -> str:
        """What of it is the better the smaller it is: the correlation's shortfall, the others themselves."""
        return f"1 − {self}" if self.score == "pearson_r" else str(self)

    def error(self, accuracy: Accuracy) -> float | None:
        """The error; None where the forecast diverged or the rollout is not that long."""
        if self.step is not None and len(accuracy.rollout) < self.step:
            return None
        scores = accuracy.one_step if self.step is None else accuracy.rollout[self.step - 1]
        value = scores.mean(self.score)
        return 1 - value if value is not None and self.score == "pearson_r" else value

    def over(self, runs: Iterable[RunRecord]) -> Interval | None:
        """The mean error of runs that differ in their seeds, with Student's interval where they are several.

        None where one of them has none: a model that diverges now and then has no mean error.
        """
        errors = [self.error(run.accuracy) for run in runs]
        known = [error for error in errors if error is not None]
        return stats.t_interval(known) if known and len(known) == len(errors) else None


def parse_metric(text: str) -> Metric:
    """A metric as a user writes it: ``vrmse``, or ``vrmse@20`` for the 20th step of a rollout.

    Raises
    ------
    UsageError : another name, or a step that is no number from 1
    """
    match = re.fullmatch(r"([a-z_]+)(?:@([1-9][0-9]{0,5}))?", text.strip())
    if match is None:
        raise UsageError(
            f"a metric is a name such as vrmse, or vrmse@20 for a step of a rollout, not {text!r}"
        )
    name, step = match[1], match[2]
    if name not in get_args(Score):
        raise unknown("metric", name, get_args(Score))
    return Metric(cast(Score, name), None if step is None else int(step))


def parse_limit(text: str) -> tuple[Metric, float]:
    """The largest error that is accurate enough, as a user writes it: ``vrmse@20=0.5``.

    Raises
    ------
    UsageError : no metric and number; or a correlation, which is no error
    """
    name, equals, number = text.partition("=")
    if not equals:
        raise UsageError(f"an accuracy is asked for as METRIC=VALUE, such as vrmse=0.2, not {text!r}")
    metric = parse_metric(name)
    if metric.score == "pearson_r":
        raise UsageError("pearson_r is no error, for the larger is the better: ask for vrmse or nrmse")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"the largest error of {metric} is a number of zero or more, not {number!r}")
    return metric, value
