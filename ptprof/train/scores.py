"""The means of all scores over the samples of one lead time, summed where the samples are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ptprof.records import Physics, Scores
from ptprof.train import physics
from ptprof.train.metrics import nrmse, pearson_r, vrmse
from ptprof.train.spectra import Modes, spectral_nmse

TRACER, VELOCITY = "tracer", ("velocity_x", "velocity_y")


class Mean:
    """A mean over samples, entry by entry, in float64.

    A sample for which an entry is undefined (NaN) is left out of that entry's mean. An entry of which any
    sample diverged has no mean at all: a mean over the forecasts that survived would flatter.
    """

    def __init__(self) -> None:
        self._sum = torch.zeros((), dtype=torch.float64)
        self._count = torch.zeros((), dtype=torch.float64)
        self._diverged = torch.zeros((), dtype=torch.bool)

    def add(self, scores: Tensor, diverged: Tensor) -> None:
        """Take in the scores of B samples, ``(B, K…)``; ``diverged`` ``(K…)`` is true where any was lost."""
        defined = ~scores.isnan()
        self._sum = self._sum + scores.where(defined, 0.0).sum(0)
        self._count = self._count + defined.sum(0)
        self._diverged = self._diverged | diverged

    def values(self) -> list[float | None]:
        """The means, flattened; None for an entry that diverged or that no sample defines."""
        means = (self._sum / self._count).where(~self._diverged, torch.nan)
        return [None if math.isnan(mean) else mean for mean in means.flatten().tolist()]


class MeanScores:
    """The mean of every score over samples, by field.

    Parameters
    ----------
    fields : the names of the channels; where there is no tracer or no velocity, its physics is undefined
    modes : of the grid that the samples lie on
    """

    def __init__(self, fields: Sequence[str], modes: Modes) -> None:
        self.fields = tuple(fields)
        self.modes = modes
        self._means: dict[str, Mean] = {}

    def add(self, prediction: Tensor, target: Tensor, start: Tensor) -> None:
        """Take in forecasts, the truth, and the last state known: ``(B, C, X, Y)``, physical units."""
        lost = ~prediction.flatten(-2).isfinite().all(-1).all(0)
        p, t = prediction.double(), target.double()
        p_modes, t_modes = self.modes.transform(p), self.modes.transform(t)
        self._add("pearson_r", pearson_r(p, t), lost)
        self._add("vrmse", vrmse(p, t), lost)
        self._add("nrmse", nrmse(p, t), lost)
        self._add("spectral_nmse", spectral_nmse(p_modes, t_modes, self.modes), lost[:, None])
        if set(VELOCITY) <= set(self.fields):
            c = [self.fields.index(name) for name in VELOCITY]
            for name, scores in physics.of_velocity(p_modes[:, c], t_modes[:, c], self.modes).items():
                self._add(name, scores, lost[c].any() & (not name.endswith("_truth")))
        if TRACER in self.fields:
            s = self.fields.index(TRACER)
            begun = self.modes.transform(start[:, s])
            for name, scores in physics.of_tracer(p_modes[:, s], t_modes[:, s], begun, self.modes).items():
                self._add(name, scores, lost[s] & (not name.endswith("_truth")))

    def scores(self) -> Scores:
        """The means of what was taken in."""
        values = {name: mean.values() for name, mean in self._means.items()}
        bands = values["spectral_nmse"]
        width = len(bands) // len(self.fields)
        return Scores(
            pearson_r=dict(zip(self.fields, values["pearson_r"], strict=True)),
            vrmse=dict(zip(self.fields, values["vrmse"], strict=True)),
            nrmse=dict(zip(self.fields, values["nrmse"], strict=True)),
            spectral_nmse={f: tuple(bands[c * width :][:width]) for c, f in enumerate(self.fields)},
            physics=Physics(**{n: v[0] for n, v in values.items() if n in Physics.model_fields}),
        )

    def _add(self, name: str, scores: Tensor, lost: Tensor) -> None:
        self._means.setdefault(name, Mean()).add(scores, lost)
