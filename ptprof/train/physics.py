"""Whether a forecast keeps to the physics: divergence, vorticity, energy spectrum, conserved tracer.

All is taken from Fourier coefficients: derivatives are spectral, and means over space are Parseval's sums.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ptprof.train.metrics import VARIANCE_FLOOR
from ptprof.train.spectra import Modes, energy_spectrum_error


def divergence(velocity: Tensor, modes: Modes) -> Tensor:
    """∂u_x/∂x + ∂u_y/∂y: coefficients ``(..., 2, X, K)`` to coefficients ``(..., X, K)``."""
    d: Tensor = 1j * (modes.kx * velocity[..., 0, :, :] + modes.ky * velocity[..., 1, :, :])
    return d


def vorticity(velocity: Tensor, modes: Modes) -> Tensor:
    """∂u_y/∂x - ∂u_x/∂y: coefficients ``(..., 2, X, K)`` to coefficients ``(..., X, K)``."""
    w: Tensor = 1j * (modes.kx * velocity[..., 1, :, :] - modes.ky * velocity[..., 0, :, :])
    return w


def relative_divergence(velocity: Tensor, truth: Tensor, modes: Modes) -> Tensor:
    """The divergence's root mean square over that of all four derivatives of the truth's velocity.

    0 is an incompressible flow; 1 has as much divergence as the truth has shear and strain together. NaN
    where the truth's velocity is uniform.

    Parameters
    ----------
    velocity, truth : coefficients ``(..., 2, X, K)``
    """
    gradient = modes.mean_square(divergence(truth, modes)) + modes.mean_square(vorticity(truth, modes))
    ratio = (modes.mean_square(divergence(velocity, modes)) / gradient).sqrt()
    return ratio.masked_fill(modes.variance(truth).isnan().all(-1), torch.nan)


def vorticity_vrmse(prediction: Tensor, target: Tensor, modes: Modes) -> Tensor:
    """VRMSE of the vorticity, whose mean over a periodic domain is 0.

    Parameters
    ----------
    prediction, target : coefficients ``(..., 2, X, K)`` of velocities
    """
    points = modes.grid[0] * modes.grid[1]
    variance = modes.mean_square(vorticity(target, modes)) * points / (points - 1)
    return (modes.mean_square(vorticity(prediction - target, modes)) / (variance + VARIANCE_FLOOR)).sqrt()


def mean_drift(tracer: Tensor, start: Tensor, modes: Modes) -> Tensor:
    """How far the tracer's mean has moved since the start, in standard deviations at the start.

    The equations conserve the mean. NaN where the tracer is uniform at the start.

    Parameters
    ----------
    tracer, start : coefficients ``(..., X, K)``
    """
    return (tracer[..., 0, 0].real - start[..., 0, 0].real).abs() / modes.variance(start).sqrt()


def variance_error(prediction: Tensor, target: Tensor, modes: Modes) -> Tensor:
    """|var(p) / var(t) - 1|: the tracer mixed too much or too little. NaN where the truth is uniform.

    Parameters
    ----------
    prediction, target : coefficients ``(..., X, K)``
    """
    return (modes.variance(prediction).nan_to_num(0.0) / modes.variance(target) - 1).abs()


def of_velocity(prediction: Tensor, target: Tensor, modes: Modes) -> dict[str, Tensor]:
    """The velocity's part of ``records.Physics``: from coefficients ``(B, 2, X, K)``, each ``(B,)``."""
    return {
        "divergence": relative_divergence(prediction, target, modes),
        "divergence_truth": relative_divergence(target, target, modes),
        "vorticity_vrmse": vorticity_vrmse(prediction, target, modes),
        "energy_spectrum_error": energy_spectrum_error(prediction, target, modes),
    }


def of_tracer(prediction: Tensor, target: Tensor, start: Tensor, modes: Modes) -> dict[str, Tensor]:
    """The tracer's part of ``records.Physics``: from coefficients ``(B, X, K)``, each ``(B,)``."""
    return {
        "tracer_mean_drift": mean_drift(prediction, start, modes),
        "tracer_mean_drift_truth": mean_drift(target, start, modes),
        "tracer_variance_error": variance_error(prediction, target, modes),
    }
