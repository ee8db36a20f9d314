"""Bicubic resampling by constant matrices, against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from ptprof.train.models.operators import fused
from ptprof.train.models.resample import BLOCK, Resample, bands, bicubic

CPU = torch.device("cpu")
sizes = st.integers(1, 3 * BLOCK)


@settings(max_examples=60, deadline=None)
@given(grid=st.tuples(sizes, sizes), out_grid=st.tuples(sizes, sizes), by_bands=st.booleans())
def test_forward_and_gradient_are_those_of_interpolate(
    grid: tuple[int, int], out_grid: tuple[int, int], by_bands: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "applies", lambda x: by_bands)
        x = torch.randn(2, 3, *grid, dtype=torch.float64, requires_grad=True)
        target = torch.randn(2, 3, *out_grid, dtype=torch.float64)
        y = Resample()(x.flatten(2), grid, out_grid).view_as(target)
        expected = interpolate(x, size=out_grid, mode="bicubic", align_corners=True)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
        found = torch.autograd.grad(y, x, target)
        torch.testing.assert_close(found, torch.autograd.grad(expected, x, target), rtol=1e-12, atol=1e-12)


def test_in_single_precision_it_rounds_positions_as_torch_does() -> None:
    x = torch.randn(1, 2, 256, 512)
    y = Resample()(x.flatten(2), (256, 512), (128, 256)).view(1, 2, 128, 256)
    expected = interpolate(x, size=(128, 256), mode="bicubic", align_corners=True)
    assert float((y - expected).norm() / expected.norm()) <= 2e-7


@pytest.mark.parametrize(("size", "out_size"), [(48, 24), (24, 48), (17, 5), (5, 17)])
def test_a_cubic_of_the_kernels_parameter_gives_the_weights(size: int, out_size: int) -> None:
    """Keys' kernel with a = −0.75, corners aligned, the ends repeated."""

    def kernel(t: float, a: float = -0.75) -> float:
        t = abs(t)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    expected = torch.zeros(out_size, size, dtype=torch.float64)
    for row in range(out_size):
        position = row * (size - 1) / (out_size - 1)
        for tap in range(int(position) - 1, int(position) + 3):
            expected[row, min(max(tap, 0), size - 1)] += kernel(position - tap)
    matrix = bicubic(size, out_size, torch.float64, CPU)
    torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix.sum(1), torch.ones(out_size, dtype=torch.float64))


def test_bands_hold_the_whole_matrix_and_little_else() -> None:
    matrix = bicubic(256, 512, torch.float64, CPU)
    again = torch.zeros_like(matrix)
    found = bands(256, 512, torch.float64, False)
    for into, out_of, part in found:
        again[into, out_of] = part
    assert torch.equal(again, matrix)
    assert sum(part.numel() for _, _, part in found) < matrix.numel() / 10
