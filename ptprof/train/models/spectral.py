"""Spectral convolutions as real matrix products.

A spectral convolution keeps few Fourier modes, so its transforms are products with a few cosines and
sines. Four products replace rfft2, truncation, the complex contraction and irfft2 of neuraloperator
2.0.0, with the same complex weights and to rounding error:

    analysis over y      (2·my, Y) · (B·C·X, Y)ᵀ            large
    analysis over x      (2·my·B·C, X) · (X, 2·mx)          small
    mixing of channels   mx·my times (2·B, Ci) · (Ci, 2·Co)   small
    synthesis over x     (2·my·B·Co, 2·mx) · (2·mx, X')     small
    synthesis over y     (2·my, B·Co·X')ᵀ · (2·my, Y')      large

The mode index leads every small array, so that no full activation is ever permuted, and the mixing
multiplies [re; im] of the spectrum with the weight's own interleaved memory, so that no second copy of
the weights is made. What neuraloperator does beyond the textbook is kept: see `ptprof.train.models.basis`.

Under autocast all five stay in the weights' precision: rounded to bfloat16, a cosine is off by 4e-3.
"""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ptprof.errors import UsageError
from ptprof.train.models.basis import Basis, Grid, constant_basis

FEW = 1
"""Up to this many samples it is cheaper to mix by Tucker's factors one by one than to contract them first."""


def autocasting(device: torch.device) -> bool:
    """Whether autocast would round the products on ``device``."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def unrounded(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Products on ``device`` in the precision of their factors, whatever autocast says.

    Without autocast it is no context at all: one would stand in every graph that is recorded.
    """
    if autocasting(device):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def widened(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in the precision of ``dtype`` where it has a lower one."""
    wide = torch.promote_types(x.dtype, dtype)
    return x if x.dtype == wide else x.to(wide)


def analyse(x: Tensor, analysis_y: Tensor) -> Tensor:
    """First product: ``x`` (B, C, X·Y) to rows (2·my, B·C·X)."""
    return analysis_y @ x.reshape(-1, analysis_y.shape[1]).t()


def spectrum(rows: Tensor, channels: int, basis: Basis) -> Tensor:
    """Second product: ``rows`` (2·my, B·C·X) to the spectrum (mx·my, 2·B, C), real parts first."""
    _, X, twice_mx = basis.analysis_x.shape
    mx, my = twice_mx // 2, rows.shape[0] // 2
    parts = torch.bmm(rows.reshape(2, -1, X), basis.analysis_x).sum(0)
    return parts.view(my, -1, channels, 2, mx).permute(4, 0, 3, 1, 2).reshape(mx * my, -1, channels)


def mix(z: Tensor, weight: Tensor) -> Tensor:
    """The four real products of a complex one: ``z`` (M, 2·B, Ci) to (M, 2·B, 2·Co).

    ``z`` holds the real parts of a batch, then its imaginary parts; ``weight`` (M, Ci, 2·Co), or
    (Ci, 2·Co) for all modes, holds real and imaginary part of each output channel side by side.
    """
    if weight.ndim == 3:
        return torch.bmm(z, weight)
    return (z.reshape(-1, z.shape[2]) @ weight).view(*z.shape[:2], -1)


def gather(products: Tensor) -> Tensor:
    """Those four products (M, 2·B, 2·C) as a spectrum again, (M, 2·B, C)."""
    M, _, twice_C = products.shape
    real, imag = products.view(M, 2, -1, twice_C // 2, 2).unbind(1)
    (rr, ri), (ir, ii) = real.unbind(-1), imag.unbind(-1)
    return torch.stack((rr - ii, ri + ir), dim=1).flatten(1, 2)


def unfold(products: Tensor, bias: Tensor, basis: Basis) -> Tensor:
    """Synthesis over x: the products (mx·my, 2·B, 2·C) of `mix` to rows (2·my, B·C·X').

    ``bias`` (C) is the same at every point, so that it belongs to the real part of the constant column.
    """
    M, _, twice_C = products.shape
    C, mx = twice_C // 2, basis.synthesis_x.shape[1] // 4
    my = M // mx
    pairs = products.view(mx, my, 2, -1, C, 2).permute(1, 3, 4, 2, 5, 0)
    shift = pad(bias.expand(1, 1, pairs.shape[1], C), (0, 0, 0, 0, 0, my - 1, 0, 1))
    rows = torch.baddbmm(
        shift.reshape(2, -1, 1), pairs.reshape(1, -1, 4 * mx).expand(2, -1, -1), basis.synthesis_x
    )
    return rows.view(2 * my, -1)


class SpectralConv(nn.Module):
    """neuraloperator's spectral convolution as real products, on its own parameters.

    Parameters
    ----------
    layer : the 2-D, real ``neuralop.layers.spectral_convolution.SpectralConv`` whose weight and bias
        become this module's: shared, not copied, under the same names.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight: Any = layer.weight
        self.bias: nn.Parameter = layer.bias
        self.in_channels: int = layer.in_channels
        self.out_channels: int = layer.out_channels
        self.modes: Grid = tuple(layer.n_modes)
        self.most: Grid = tuple(layer.max_n_modes)
        self.norm: str = layer.fft_norm
        self.scaling: tuple[float, ...] = tuple(layer.resolution_scaling_factor or (1.0, 1.0))
        self._tucker = not hasattr(layer.weight, "tensor")
        _lead_with_modes(self.weight)

    def out_grid(self, grid: Grid) -> Grid:
        """The grid that this layer gives on ``grid``."""
        return round(grid[0] * self.scaling[0]), round(grid[1] * self.scaling[1])

    def basis(self, grid: Grid, out_grid: Grid, dtype: torch.dtype, device: torch.device) -> Basis:
        """The constant matrices from ``grid`` to ``out_grid``."""
        return constant_basis(grid, out_grid, self.kept(grid), dtype, device)

    def kept(self, grid: Grid) -> Grid:
        """The modes kept on ``grid``: no more than it has."""
        return min(self.modes[0], grid[0]), min(self.modes[1], grid[1] // 2 + 1)

    def mixing(self, grid: Grid, dtype: torch.dtype) -> list[Tensor]:
        """The factors that mix the channels on ``grid``, in order, as `mix` takes them."""
        wide = _complex(dtype)
        if not self._tucker:
            along_x, along_y = self._kept_of_weight(grid)
            weight = self.weight.tensor.to(wide).permute(2, 3, 0, 1)[along_x, along_y]
            return [_interleaved(weight.flatten(0, 1))]
        core, factor_y = self._core(grid, wide)
        contracted = torch.bmm(factor_y.expand(len(core), -1, -1), core.flatten(2))
        into, out = self.weight.factors[:2]
        factors = into.to(wide), contracted.view(-1, *core.shape[2:]), out.to(wide).t()
        return [_interleaved(factor) for factor in factors]

    def filter(self, rows: Tensor, basis: Basis, grid: Grid) -> Tensor:
        """From the rows of the analysis over y (2·my, B·Ci·X) to those of the synthesis (2·my, B·Co·X')."""
        z = spectrum(rows, self.in_channels, basis)
        if self._tucker and z.shape[1] <= 2 * FEW and not recording():
            products = self._mixed_by_factors(z, grid)
        else:
            *factors, last = self.mixing(grid, rows.dtype)
            for factor in factors:
                z = gather(mix(z, factor))
            products = mix(z, last)
        return unfold(products, self.bias.flatten(), basis)

    def _kept_of_weight(self, grid: Grid) -> tuple[slice, slice]:
        """neuraloperator takes the middle of the weight along x, the low end along y."""
        kept = self.kept(grid)
        start = (self.most[0] - kept[0]) // 2
        return slice(start, start + kept[0]), slice(kept[1])

    def _core(self, grid: Grid, wide: torch.dtype) -> tuple[Tensor, Tensor]:
        """Tucker's core contracted along x (mx, Ry, Rin, Rout), and the factor along y (my, Ry)."""
        along_x, along_y = self._kept_of_weight(grid)
        factor_x, factor_y = (factor.to(wide) for factor in self.weight.factors[2:])
        core = self.weight.core.to(wide).permute(2, 3, 0, 1)
        contracted = factor_x[along_x] @ core.flatten(1)
        return contracted.view(-1, *core.shape[1:]), factor_y[along_y]

    def _mixed_by_factors(self, z: Tensor, grid: Grid) -> Tensor:
        """`mix` of ``z`` with all of Tucker's factors, the one along y applied to the products.

        For a few samples these are smaller than the core, whose contraction, forward and backward, is the
        largest part of a training step.
        """
        wide = _complex(z.dtype)
        into, out = (factor.to(wide) for factor in self.weight.factors[:2])
        core, factor_y = self._core(grid, wide)
        (mx, ranks), my = core.shape[:2], len(factor_y)
        z = gather(mix(z, _interleaved(into)))
        lines = z.view(mx, 1, -1, z.shape[2]).expand(-1, ranks, -1, -1).flatten(0, 1)
        products = torch.bmm(lines, _interleaved(core.flatten(0, 1)))
        parts = gather(products.view(mx * ranks * my, z.shape[1], -1))
        terms = torch.complex(*parts.view(mx, ranks, my, 2, -1, parts.shape[2]).unbind(3))
        mixed = (factor_y.t()[:, :, None, None] * terms).sum(1).flatten(0, 1)
        return mix(torch.cat((mixed.real, mixed.imag), dim=1), _interleaved(out.t()))

    def forward(self, x: Tensor, output_shape: Grid | None = None) -> Tensor:
        """``x`` (B, Ci, X, Y) to (B, Co, X', Y')."""
        grid = (x.shape[2], x.shape[3])
        out_grid = self.out_grid(grid) if output_shape is None else output_shape
        with unrounded(x.device):
            x = widened(x, self.bias.dtype)
            b = self.basis(grid, out_grid, x.dtype, x.device)
            rows = self.filter(analyse(x, b.analysis_y), b, grid)
            return (rows.t() @ b.synthesis_y).view(x.shape[0], self.out_channels, *out_grid)


class OnGrid(nn.Module):
    """A model with spectral layers; ``grid`` is what `freeze` has bound it to."""

    grid: Grid | None = None

    def fix_grid(self, grid: Grid) -> None:
        """Turn every spectral layer, for good, into constants for an input on ``grid``."""
        raise NotImplementedError

    def grid_of(self, x: Tensor) -> Grid:
        """The grid of ``x`` (B, C, X, Y); UsageError where the model is bound to another."""
        if self.grid is None:
            return x.shape[2], x.shape[3]
        # While a trace is recorded the sizes are tensors: it is recorded for the grid that is bound.
        if not recording() and (x.shape[2], x.shape[3]) != self.grid:
            raise UsageError(
                f"this model is fixed to a grid of {self.grid[0]}×{self.grid[1]}, but its input has "
                f"{x.shape[2]}×{x.shape[3]}: freeze or export it for that grid"
            )
        return self.grid


def recording() -> bool:
    """Whether a graph is being recorded, by torch.jit or by torch.compile and torch.export."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]


def freeze(module: nn.Module, grid: Grid) -> nn.Module:
    """A deep copy of ``module`` in eval mode, fit to be traced and exported, bound to ``grid`` = (X, Y).

    Spectral layers become dense, real and constant: no complex dtype, no FFT and no shape arithmetic is
    left in the graph, and only the batch size stays free. A frozen neural operator raises UsageError
    for another grid. U-nets, and neuraloperator's own layers (``spectral="fft"``), are copied as they are.
    """
    frozen = copy.deepcopy(module).eval().requires_grad_(False)
    for part in list(frozen.modules()):
        if not isinstance(part, OnGrid) or part.grid == grid:
            continue
        if part.grid is not None:
            raise UsageError(
                f"a model that is fixed to {part.grid[0]}×{part.grid[1]} cannot be fixed to another grid"
            )
        part.fix_grid(grid)
    return frozen


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype == torch.float64 else torch.complex64


def _interleaved(weight: Tensor) -> Tensor:
    """A complex (…, Ci, Co) as real (…, Ci, 2·Co), real and imaginary part side by side."""
    return torch.view_as_real(weight).flatten(-2)


def _lead_with_modes(weight: Any) -> None:
    """Lay the weight out in memory with its modes first; shape and values stay as they are.

    One matrix per mode is then a view: neither the forward nor the gradient transposes the weights.
    """
    parameter: nn.Parameter = weight.tensor if hasattr(weight, "tensor") else weight.core
    parameter.data = parameter.data.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
