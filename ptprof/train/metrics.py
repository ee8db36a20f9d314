"""How near a forecast is to the truth, point by point: Pearson's r, VRMSE and NRMSE, reduced over space.

All follow The Well's benchmark (the_well 1.2.0, ``benchmark/metrics/spatial.py``) but for one point: there
Pearson's r divides a covariance over N by deviations over N - 1, so that a perfect forecast scores
(N - 1)/N; here N is the same throughout and a perfect forecast scores 1. All sums are taken in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-7
"""Added to what VRMSE and NRMSE divide by, in squared physical units, as The Well does."""


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


def nrmse(prediction: Tensor, target: Tensor) -> Tensor:
    """Root mean square error over the target's root mean square; 1 is what a forecast of 0 scores.

    sqrt(mean((p - t)²) / (mean(t²) + 1e-7)).

    Parameters
    ----------
    prediction, target : ``(..., X, Y)``, physical units

    Returns
    -------
    ``(...)``, float64
    """
    p, t = _flat(prediction), _flat(target)
    return ((p - t).square().mean(-1) / (t.square().mean(-1) + VARIANCE_FLOOR)).sqrt()


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
