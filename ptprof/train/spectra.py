"""Fields by wave number: Parseval's sums over bands and shells of Fourier coefficients.

A coefficient is an amplitude: the one of wave number 0 is the field's mean, and the sum of all squares is
the field's mean square. Of a real field only the half that ``rfft2`` gives is kept; the squares of what its
conjugates add are counted there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BANDS = 3
"""Bands of wave numbers of the spectral error, as in The Well."""

ENERGY_FLOOR = 1e-8
"""Least share of the truth's energy that a shell is taken to hold: waves of 1e-4 of the flow's speed."""

NMSE_FLOOR = 1e-7
"""Added to a band's mean square, in squared physical units, as The Well does."""


class Modes:
    """The Fourier modes of one grid on a periodic rectangle, and sums over them in float64.

    Parameters
    ----------
    grid : ``(X, Y)`` points
    lengths : the periods along x and y
    device : torch's name of a device
    """

    def __init__(
        self, grid: tuple[int, int], lengths: tuple[float, float], device: str | torch.device = "cpu"
    ) -> None:
        nx, ny = grid
        m = torch.fft.fftfreq(nx, 1 / nx, dtype=torch.float64, device=device)[:, None]
        n = torch.fft.rfftfreq(ny, 1 / ny, dtype=torch.float64, device=device)[None, :]
        self.grid = grid
        # A real field has no phase at Nyquist's wave number, and so no first derivative there.
        self.kx = 2 * math.pi / lengths[0] * m.masked_fill(2 * m.abs() == nx, 0.0)
        self.ky = 2 * math.pi / lengths[1] * n.masked_fill(2 * n == ny, 0.0)
        self._weight = torch.where((n == 0) | (2 * n == ny), 1.0, 2.0).to(torch.float64).expand(nx, -1)
        self._bands = self._members(_band(m, n, grid), BANDS)
        unit = 2 * math.pi / min(lengths)
        wave_number = 2 * math.pi * torch.hypot(m / lengths[0], n / lengths[1])
        shell = (wave_number / unit + 0.5).floor().long()
        self._shells = self._members(shell, int(shell.max()) + 1)
        self.complete_shells = math.ceil(min(nx / lengths[0], ny / lengths[1]) * math.pi / unit - 0.5)

    def transform(self, field: Tensor) -> Tensor:
        """The coefficients ``(..., X, Y // 2 + 1)``, complex128, of real fields ``(..., X, Y)``."""
        coefficients: Tensor = torch.fft.rfft2(field.double(), norm="forward")
        return coefficients

    def mean_square(self, coefficients: Tensor) -> Tensor:
        """The mean square ``(...)`` of each field, its mean included."""
        return (_square(coefficients) * self._weight).sum((-2, -1))

    def variance(self, coefficients: Tensor) -> Tensor:
        """The variance ``(...)`` of each field, over N; NaN where it is constant to within float32."""
        square = self.mean_square(coefficients)
        variance = square - coefficients[..., 0, 0].abs().square()
        resolution = torch.finfo(torch.float32).eps ** 2
        return variance.masked_fill(variance <= resolution * square, torch.nan)

    def by_band(self, coefficients: Tensor) -> Tensor:
        """What each band adds to the mean square of a field: ``(..., 3)``."""
        return _square(coefficients).flatten(-2) @ self._bands

    def by_shell(self, coefficients: Tensor) -> Tensor:
        """What each shell of wave numbers adds to the mean square of a vector field: ``(..., shells)``.

        Parameters
        ----------
        coefficients : ``(..., D, X, Y // 2 + 1)``, the D components of the field

        Returns
        -------
        shell j holds the wave numbers from j - 1/2 to j + 1/2 units, a unit being 2π over the shorter
        period; the first is the mean alone, and from ``complete_shells`` on the grid's corners cut them
        """
        return _square(coefficients).sum(-3).flatten(-2) @ self._shells

    def _members(self, group: Tensor, groups: int) -> Tensor:
        """``(modes, groups)``: how often each mode counts in which group."""
        one_hot = torch.nn.functional.one_hot(group.flatten(), groups).double()
        return one_hot * self._weight.reshape(-1, 1)


def spectral_nmse(prediction: Tensor, target: Tensor, modes: Modes) -> Tensor:
    """The square error within each band over the truth's mean square there.

    The error and the truth are filtered to a band, and then mean((p - t)²) / (mean(t²) + 1e-7): The Well's
    ``binned_spectral_mse`` (the_well 1.2.0, ``benchmark/metrics/spectral.py``), normalised.

    Parameters
    ----------
    prediction, target : coefficients ``(..., X, Y // 2 + 1)`` of fields in physical units

    Returns
    -------
    ``(..., 3)``, from the longest waves to the shortest
    """
    return modes.by_band(prediction - target) / (modes.by_band(target) + NMSE_FLOOR)


def energy_spectrum(velocity: Tensor, modes: Modes) -> Tensor:
    """The kinetic energy per mass in each shell of wave numbers, ``(..., shells)``; their sum is the mean.

    Parameters
    ----------
    velocity : coefficients ``(..., 2, X, Y // 2 + 1)``
    """
    return 0.5 * modes.by_shell(velocity)


def energy_spectrum_error(prediction: Tensor, target: Tensor, modes: Modes) -> Tensor:
    """Root mean square over shells of log10(E_p / E_t): how many decades a spectrum is off.

    Over the shells that lie whole on the grid, the mean flow left aside. Energies below ``ENERGY_FLOOR`` of
    the truth's, in both, count as that floor; NaN where the truth's velocity is uniform.

    Parameters
    ----------
    prediction, target : coefficients ``(..., 2, X, Y // 2 + 1)`` of velocities
    """
    p, t = (energy_spectrum(v, modes)[..., 1 : modes.complete_shells] for v in (prediction, target))
    floor = ENERGY_FLOOR * t.sum(-1, keepdim=True)
    decades = torch.log10(torch.maximum(p, floor) / torch.maximum(t, floor))
    uniform = modes.variance(target).isnan().all(-1)
    return decades.square().mean(-1).sqrt().masked_fill(uniform, torch.nan)


def _band(m: Tensor, n: Tensor, grid: tuple[int, int]) -> Tensor:
    """The Well's bands: in radians per point, from 0 to the corner, edges equally spaced in logarithm."""
    edges = torch.logspace(
        math.log10(2 * math.pi / max(grid)),
        math.log10(math.pi * math.sqrt(2) + 1e-6),
        BANDS + 1,
        dtype=torch.float64,
        device=m.device,
    )
    edges[0] = 0.0
    radians = 2 * math.pi * torch.hypot(m / grid[0], n / grid[1])
    return torch.bucketize(radians, edges, right=True) - 1


def _square(coefficients: Tensor) -> Tensor:
    return coefficients.real.square() + coefficients.imag.square()
