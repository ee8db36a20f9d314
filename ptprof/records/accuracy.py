"""What is forecast, and how well."""

from __future__ import annotations

from statistics import fmean
from typing import Literal

from pydantic import Field

from ptprof.records.base import Value


class Statistics(Value):
    """Per-channel mean and standard deviation, in the order of ``fields``.

    ``change_std`` is the deviation of a field's change from one state to the next; empty where it is not
    known.
    """

    fields: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    change_std: tuple[float, ...] = ()


class Physics(Value):
    """How far forecasts keep to the physics of the flow; None where that is undefined.

    ``divergence`` is in units of the truth's velocity gradient, ``energy_spectrum_error`` in decades,
    ``tracer_mean_drift`` in standard deviations of the tracer, the others are relative errors.
    ``*_truth`` is the figure of the data themselves, the floor that a forecast is read against.
    """

    divergence: float | None = None
    divergence_truth: float | None = None
    vorticity_vrmse: float | None = None
    energy_spectrum_error: float | None = None
    tracer_mean_drift: float | None = None
    tracer_mean_drift_truth: float | None = None
    tracer_variance_error: float | None = None


class Scores(Value):
    """Accuracy at one lead time, by field; None where a score is undefined (a constant field).

    ``spectral_nmse`` holds one figure for each band of wave numbers, the longest waves first.
    """

    pearson_r: dict[str, float | None]
    vrmse: dict[str, float | None]
    nrmse: dict[str, float | None] = Field(default_factory=dict)
    spectral_nmse: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    physics: Physics = Physics()

    def mean(self, name: Literal["pearson_r", "vrmse", "nrmse"]) -> float | None:
        """The mean of a score over the fields that define it; None where any field's forecast diverged.

        VRMSE is defined for every finite forecast, so that a field without one has diverged.
        """
        scores: dict[str, float | None] = getattr(self, name)
        defined = [score for score in scores.values() if score is not None]
        return fmean(defined) if defined and None not in self.vrmse.values() else None


class Accuracy(Value):
    """Scores on the test split: one step, and every step of a rollout."""

    one_step: Scores
    rollout: tuple[Scores, ...] = ()
