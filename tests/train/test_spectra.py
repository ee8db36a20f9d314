"""Bands and shells of wave numbers, against single modes, Parseval, and The Well's own code."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from the_well.benchmark.metrics import binned_spectral_mse
from the_well.data.datasets import WellMetadata
from torch import Tensor

from ptprof.train.spectra import ENERGY_FLOOR, Modes, energy_spectrum, energy_spectrum_error, spectral_nmse

LENGTHS = (1.0, 2.0)
GRID = (16, 32)
X = torch.arange(16, dtype=torch.float64)[:, None] / 16
Y = torch.arange(32, dtype=torch.float64)[None, :] / 16 - 1


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def metadata(grid: tuple[int, int]) -> WellMetadata:
    return WellMetadata(
        dataset_name="shear_flow",
        n_spatial_dims=2,
        spatial_resolution=grid,
        scalar_names=[],
        constant_scalar_names=[],
        field_names={0: ["tracer", "pressure"], 1: ["velocity_x", "velocity_y"], 2: []},
        constant_field_names={0: [], 1: [], 2: []},
        boundary_condition_types=["PERIODIC"],
        n_files=1,
        n_trajectories_per_file=[1],
        n_steps_per_trajectory=[1],
    )


@pytest.mark.parametrize("grid", [(48, 96), (64, 64), (32, 20)])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_well_bins_the_same(grid: tuple[int, int], scale: float) -> None:
    target = scale * noise(2, 4, *grid)
    prediction = target + 0.3 * scale * noise(2, 4, *grid, seed=1)
    theirs = binned_spectral_mse.eval(
        prediction.movedim(1, -1), target.movedim(1, -1), metadata(grid), bins=None
    )
    modes = Modes(grid, LENGTHS)
    p, t = modes.transform(prediction), modes.transform(target)
    for band in range(3):
        # The Well adds 1e-7 to the number of modes in a bin, which is 25 at least here.
        for ours, name in (
            (modes.by_band(p - t), f"spectral_error_mse_per_bin_{band}"),
            (spectral_nmse(p, t, modes), f"spectral_error_nmse_per_bin_{band}"),
        ):
            torch.testing.assert_close(ours[..., band], theirs[name], rtol=1e-7, atol=0.0)


@given(seed=st.integers(0, 1000), grid=st.sampled_from([(16, 32), (12, 10), (9, 15), (8, 9)]))
def test_bands_and_shells_add_up_to_the_mean_square(seed: int, grid: tuple[int, int]) -> None:
    modes = Modes(grid, LENGTHS)
    velocity = noise(3, 2, *grid, seed=seed)
    coefficients = modes.transform(velocity)
    square = velocity.square().mean((-2, -1))
    torch.testing.assert_close(modes.mean_square(coefficients), square)
    torch.testing.assert_close(modes.by_band(coefficients).sum(-1), square)
    torch.testing.assert_close(energy_spectrum(coefficients, modes).sum(-1), 0.5 * square.sum(-1))


@pytest.mark.parametrize(
    ("m", "n", "shell"), [(0, 0, 0), (0, 1, 1), (1, 0, 1), (0, 2, 1), (2, 3, 3), (0, 9, 5)]
)
def test_a_wave_lies_in_its_shell(m: int, n: int, shell: int) -> None:
    # m periods along x and n along y, which is twice as long; wave numbers count in periods per unit length.
    wave = torch.cos(2 * math.pi * (m * X + n * Y / 2))
    spectrum = energy_spectrum(modes().transform(torch.stack([wave, 2 * wave])), modes())
    expected = torch.zeros_like(spectrum)
    expected[shell] = 0.5 * 5 * (1.0 if m == n == 0 else 0.5)
    torch.testing.assert_close(spectrum, expected)


def modes() -> Modes:
    return Modes(GRID, LENGTHS)


def test_complete_shells_lie_below_nyquist() -> None:
    # 16 points per unit length resolve 8 periods: shell 7 ends at 7.5, shell 8 would reach beyond.
    assert modes().complete_shells == 8
    wave_numbers = torch.hypot(
        torch.fft.fftfreq(16, 1 / 16)[:, None], torch.fft.fftfreq(32, 1 / 32)[None] / 2
    )
    for shell in range(8):
        # Every wave of these shells is on the grid, so none lies on its Nyquist line.
        inside = (wave_numbers >= shell - 0.5) & (wave_numbers < shell + 0.5)
        assert not inside[8].any()
        assert not inside[:, 16].any()


def test_the_spectrum_of_twice_the_velocity_is_off_by_log_four() -> None:
    velocity = modes().transform(noise(5, 2, *GRID))
    assert energy_spectrum_error(velocity, velocity, modes()).tolist() == [0.0] * 5
    error = energy_spectrum_error(2 * velocity, velocity, modes())
    torch.testing.assert_close(error, torch.full((5,), math.log10(4), dtype=torch.float64))


def test_a_missing_scale_costs_what_it_held_above_the_floor() -> None:
    strong, weak = torch.cos(2 * math.pi * X).expand(GRID), torch.cos(2 * math.pi * 3 * X).expand(GRID)
    still = torch.zeros(GRID, dtype=torch.float64)

    def error(p: Tensor, t: Tensor) -> float:
        pair = [modes().transform(torch.stack([f, still])) for f in (p, t)]
        return energy_spectrum_error(*pair, modes()).item()

    held = 1e-4**2 / (1 + 1e-4**2) / ENERGY_FLOOR
    assert error(strong, strong + 1e-4 * weak) == pytest.approx(abs(math.log10(max(held, 1.0))), abs=1e-9)
    assert error(strong, strong + 1e-2 * weak) == pytest.approx(
        math.log10(1e-4 / (1 + 1e-4) / ENERGY_FLOOR) / math.sqrt(7), rel=1e-6
    )
    assert error(strong + 1e-6 * weak, strong) == 0.0
    assert math.isnan(error(weak, still))


def test_a_band_without_energy_is_measured_by_the_floor() -> None:
    long = modes().transform(torch.cos(2 * math.pi * X).expand(GRID))
    short = modes().transform(1e-2 * torch.cos(2 * math.pi * 7 * X).expand(GRID))
    low, middle, high = spectral_nmse(long + short, long, modes()).tolist()
    assert low + middle == pytest.approx(0.0, abs=1e-20)
    assert high == pytest.approx(0.5e-4 / 1e-7, rel=1e-6)
