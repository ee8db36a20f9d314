"""One spectral layer: ours against neuraloperator's own and against what the transform must do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ptprof.plugins.importing import quiet
from ptprof.train.models import basis
from ptprof.train.models.spectral import SpectralConv

Compare = Callable[[nn.Module, nn.Module, Tensor, Tensor], dict[str, float]]


def layer(modes: tuple[int, int], *, scaling: float | None = None, tucker: bool = False) -> nn.Module:
    """neuraloperator's layer from 3 channels to 4."""
    with quiet():
        from neuralop.layers.spectral_convolution import SpectralConv as Stock

    return Stock(
        3,
        4,
        modes,
        resolution_scaling_factor=scaling,
        factorization="Tucker" if tucker else None,
        rank=1.0,
        implementation="factorized" if tucker else "reconstructed",
    )


def windows(
    stock: nn.Module, grid: tuple[int, int], dtype: torch.dtype, batch: int = 2
) -> tuple[Tensor, Tensor]:
    x = torch.randn(batch, 3, *grid, dtype=dtype)
    with torch.no_grad():
        return x, torch.randn_like(stock(x))


@settings(max_examples=80, deadline=None)
@given(
    grid=st.tuples(st.integers(2, 21), st.integers(2, 21)),
    modes=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    scaling=st.sampled_from([None, 0.5, 1, 1.5, 2]),
    tucker=st.booleans(),
    batch=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_any_layer_on_any_grid_is_neuraloperators(
    grid: tuple[int, int],
    modes: tuple[int, int],
    scaling: float | None,
    tucker: bool,
    batch: int,
    seed: int,
) -> None:
    """Odd and even sizes and modes, modes beyond the grid, growing and shrinking: output and gradients."""
    torch.manual_seed(seed)
    stock = layer(modes, scaling=scaling, tucker=tucker)
    if scaling is not None and any(round(n * scaling) < 1 for n in grid):
        return
    ours = SpectralConv(stock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "cfloat", torch.complex128)
        for parameter in stock.parameters():
            parameter.data = parameter.data.to(torch.complex128 if parameter.is_complex() else torch.float64)
        x, target = windows(stock, grid, torch.float64, batch)
        x.requires_grad_()
        inputs = [x, *stock.parameters()]
        y, expected = ours(x), stock(x)
        found = torch.autograd.grad(y, inputs, target)
        reference = torch.autograd.grad(expected, inputs, target)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-13)
    for a, b in zip(found, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12 * (1 + float(b.abs().max())))


@pytest.mark.parametrize("tucker", [False, True])
@pytest.mark.parametrize(
    ("grid", "modes", "scaling"),
    [
        ((16, 32), (8, 8), None),
        ((16, 32), (16, 32), None),  # all modes: both Nyquist rows and columns
        ((15, 33), (7, 9), None),
        ((9, 12), (16, 16), None),  # more modes than points
        ((16, 32), (8, 8), 0.5),
        ((16, 32), (8, 8), 2.0),
        ((11, 14), (11, 14), 1.5),
    ],
)
def test_in_single_precision_it_stays_within_rounding(
    grid: tuple[int, int], modes: tuple[int, int], scaling: float | None, tucker: bool, compare: Compare
) -> None:
    torch.manual_seed(0)
    stock = layer(modes, scaling=scaling, tucker=tucker)
    ours = SpectralConv(stock)
    distances = compare(ours, stock, *windows(stock, grid, torch.float32))
    assert distances.pop("output") <= 1e-6
    assert max(distances.values()) <= 3e-6


def test_a_constant_mode_only_scales_the_mean_and_adds_the_bias() -> None:
    conv = SpectralConv(layer((1, 1)))
    x = torch.randn(2, 3, 8, 10, dtype=torch.float64)
    conv.double()
    means = x.mean((2, 3)).to(torch.cdouble)
    weight = conv.weight.tensor[:, :, 0, 0].to(torch.cdouble)
    expected = (means @ weight).real[:, :, None, None] + conv.bias
    torch.testing.assert_close(
        conv(x), expected.expand(2, 4, 8, 10).to(torch.float64), rtol=1e-12, atol=1e-12
    )


def test_a_module_in_double_precision_keeps_double_precision_with_single_weights() -> None:
    """``Module.double`` leaves complex weights alone; they are widened, not the fields narrowed."""
    for tucker in (False, True):
        torch.manual_seed(3)
        conv = SpectralConv(layer((4, 4), tucker=tucker)).double()
        x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
        y = conv(x)
        for parameter in conv.parameters():
            parameter.data = parameter.data.to(torch.complex128 if parameter.is_complex() else torch.float64)
        torch.testing.assert_close(y, conv(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("tucker", [False, True])
def test_under_autocast_a_layer_rounds_nothing_but_its_input(tucker: bool) -> None:
    """Transforms and mode products in single precision: bit for bit those of the rounded input."""
    torch.manual_seed(0)
    conv = SpectralConv(layer((6, 6), tucker=tucker))
    rounded = torch.randn(2, 3, 16, 20).to(torch.bfloat16)
    target = torch.randn(2, 4, 16, 20)
    expected = conv(rounded.float())
    reference = torch.autograd.grad(expected, list(conv.parameters()), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = conv(rounded)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    for a, b in zip(torch.autograd.grad(found, list(conv.parameters()), target), reference, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("size", "kept"), list(itertools.product((7, 8, 16), (1, 2, 5, 6, 7))))
def test_modes_lie_where_two_fftshifts_put_them(size: int, kept: int) -> None:
    shifted = np.fft.fftshift(np.fft.fftfreq(size, 1 / size)).astype(int)
    start = size // 2 - kept // 2
    kept_rows = np.zeros(size, dtype=int)
    kept_rows[start : start + kept] = np.arange(1, kept + 1)
    returned = np.fft.fftshift(kept_rows)
    frequency, index = basis.frequencies(size, kept)
    np.testing.assert_array_equal(frequency, shifted[start : start + kept])
    np.testing.assert_array_equal(returned[index], np.arange(1, kept + 1))


@pytest.mark.parametrize("grid", [(8, 8), (9, 7), (6, 10)])
def test_analysis_and_synthesis_of_all_modes_return_an_even_field(grid: tuple[int, int]) -> None:
    """With unit weights and all modes an even size gives the field back; an odd one modulates it."""
    modes = (grid[0], grid[1] // 2 + 1)
    analysis_y, analysis_x, synthesis_x, synthesis_y = basis.basis_matrices(grid, grid, modes)
    u = np.random.default_rng(0).standard_normal(grid)
    rows = (analysis_y @ u.T).reshape(2, modes[1], grid[0])
    z = rows[0] @ analysis_x[0] + rows[1] @ analysis_x[1]
    real, imag = z[:, : modes[0]], z[:, modes[0] :]
    none = np.zeros_like(real)
    back = (
        np.concatenate([np.hstack([real, none, imag, none]) @ part for part in synthesis_x]).T @ synthesis_y
    )
    if grid[0] % 2 == 0:
        np.testing.assert_allclose(back, u, atol=1e-14)
    else:
        spectrum = np.fft.fft2(u)
        expected = np.fft.irfft2(np.roll(spectrum, -1, axis=0)[:, : modes[1]], s=grid)
        np.testing.assert_allclose(back, expected, atol=1e-13)


def test_the_constants_are_kept_for_a_bounded_number_of_grids() -> None:
    for size in range(4, 4 + 2 * basis.basis.cache_info().maxsize):
        basis.basis((size, 4), (size, 4), (2, 2), torch.float32, torch.device("cpu"))
    assert basis.basis.cache_info().currsize == basis.basis.cache_info().maxsize <= 64


def test_constants_made_in_inference_mode_serve_training() -> None:
    basis.basis.cache_clear()
    conv = SpectralConv(layer((4, 4)))
    x = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        conv(x)
    conv(x).sum().backward()
    assert math.isfinite(float(torch.view_as_real(conv.weight.tensor.grad).norm()))
