"""How near a forecast is to the truth: VRMSE and Pearson's r, per field, reduced over space.

Both follow The Well's benchmark (the_well 1.2.0, ``benchmark/metrics/spatial.py``) but for one point:
there Pearson's r divides a covariance over N by deviations over N - 1, so that a perfect forecast
scores (N - 1)/N; here N is the same throughout and a perfect forecast scores 1. All sums are taken in
float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ptprof.records import Scores

VARIANCE_FLOOR = 1e-7
"""Added to the variance in VRMSE, in squared physical units, as The Well does."""


def vrmse(prediction: Tensor, target: Tensor) -> Tensor:
    """Root mean square error over the target's spatial deviation; 1 is what the spatial mean scores.

    sqrt(mean((p - t)²) / (var(t) + 1e-7)), the variance over N - 1.

    Parameters
    ----------
    prediction, target : ``(..., X, Y)``, physical units

    Returns
    -------
    ``(...)``, float64
    """
    p, t = _flat(prediction), _flat(target)
    return ((p - t).square().mean(-1) / (t.var(-1) + VARIANCE_FLOOR)).sqrt()


def pearson_r(prediction: Tensor, target: Tensor) -> Tensor:
    """Correlation over space; NaN where either field is constant to within float32.

    Parameters
    ----------
    prediction, target : ``(..., X, Y)``

    Returns
    -------
    ``(...)``, float64, within [-1, 1]
    """
    p, t = _flat(prediction), _flat(target)
    p_centred, t_centred = p - p.mean(-1, keepdim=True), t - t.mean(-1, keepdim=True)
    p_norm, t_norm = p_centred.norm(dim=-1), t_centred.norm(dim=-1)
    r: Tensor = (p_centred * t_centred).sum(-1) / (p_norm * t_norm)
    resolution = torch.finfo(torch.float32).eps
    constant = (p_norm <= resolution * p.norm(dim=-1)) | (t_norm <= resolution * t.norm(dim=-1))
    return r.clamp(-1.0, 1.0).masked_fill(constant, torch.nan)


def _flat(field: Tensor) -> Tensor:
    return field.flatten(-2).double()


class MeanScores:
    """The mean of both scores over samples, by field.

    A sample for which a score is undefined is left out of that score's mean. A field of which any
    forecast is not finite has no score at all: a mean over the forecasts that survived would flatter.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)
        self._sums = torch.zeros(2, len(self.fields), dtype=torch.float64)
        self._counts = torch.zeros(2, len(self.fields), dtype=torch.float64)
        self._diverged = torch.zeros(len(self.fields), dtype=torch.bool)

    def add(self, prediction: Tensor, target: Tensor) -> None:
        """Take in samples ``(B, C, X, Y)``, physical units."""
        scores = torch.stack([pearson_r(prediction, target), vrmse(prediction, target)]).cpu()
        defined = ~scores.isnan()
        self._sums += scores.nan_to_num(0.0).sum(1)
        self._counts += defined.sum(1)
        self._diverged |= ~prediction.flatten(-2).isfinite().all(-1).all(0).cpu()

    def scores(self) -> Scores:
        """The means; None for a field that no sample defines."""
        pearson, error = (self._means(row) for row in range(2))
        return Scores(pearson_r=pearson, vrmse=error)

    def _means(self, row: int) -> dict[str, float | None]:
        return {
            field: None if self._diverged[c] or self._counts[row, c] == 0 else mean
            for c, field in enumerate(self.fields)
            for mean in [float(self._sums[row, c] / self._counts[row, c])]
        }
