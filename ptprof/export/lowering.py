"""Any module with neuraloperator's Fourier layers as one that can be traced and exported.

The spectral convolutions become real matrix products on the same weights, on the grid of the example inputs;
what else of neuraloperator 2.0.0 computes with shapes while it runs (the U-shaped operator, positional
embeddings, padding of the domain, resampling of the skips) becomes constants for that grid. All else, and the
batch size, stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ptprof.errors import ExportError, unknown
from ptprof.plugins.importing import quiet
from ptprof.train.models.basis import Grid
from ptprof.train.models.frozen import FrozenSpectralConv
from ptprof.train.models.neural_operators import plain
from ptprof.train.models.resample import Resample
from ptprof.train.models.spectral import SpectralConv
from ptprof.train.models.spectral_choice import cheaper

SPECTRAL = ("auto", "gemm", "fft")
FACTORISATIONS = ("dense", "tucker")
NORMS = ("forward", "backward", "ortho")


def lower(module: nn.Module, *inputs: Tensor, spectral: str = "gemm") -> nn.Module:
    """A copy of ``module`` in eval mode that computes the same on the grid of ``inputs``, fit to be exported.

    Parameters
    ----------
    module : any module with 2-D FNO, TFNO or UNO layers of neuraloperator 2.0.0 somewhere in it, dense or
        Tucker; a module without any is copied as it is
    inputs : what its forward takes, as examples: ``(B, C, X, Y)``; the values do not count
    spectral : ``"gemm"``, real matrix products, which every format takes; ``"fft"``, neuraloperator's own,
        which ONNX cannot hold; ``"auto"``, for each layer what `cheaper` expects to be quicker

    Raises
    ------
    ExportError : layers that are not supported (1-D and 3-D, CP and tensor-train weights, separable ones,
        complex data, half precision), a layer that is used on several grids, inputs that do not fit
    UsageError : a ``spectral`` that is not known
    """
    if spectral not in SPECTRAL:
        raise unknown("spectral implementation", spectral, SPECTRAL)
    check_layers(module)
    with quiet():
        from neuralop.layers.padding import DomainPadding
        from neuralop.models.base_model import BaseModel
    lowered = copy.deepcopy(module).eval().requires_grad_(False)
    for part in lowered.modules():
        if isinstance(part, DomainPadding):
            part._padding, part._unpad_indices = {}, {}
        if isinstance(part, BaseModel):
            part.__class__ = plain(type(part))
    shapes = _shapes(lowered, inputs)
    replaced: dict[int, nn.Module] = {}
    # Parents come before their children: what holds a layer is rebuilt of layers that are replaced in turn.
    for part in reversed(list(lowered.modules())):
        # One that stands in several places stands in all of them here; `named_children` gives it once.
        for name, child in part._modules.items():
            if child is None:
                continue
            if id(child) not in replaced:
                replaced[id(child)] = _replacement(child, shapes, spectral)
            setattr(part, name, replaced[id(child)])
    return _replacement(lowered, shapes, spectral).eval()


def check_layers(module: nn.Module) -> None:
    """Raise ExportError, in one line, where ``module`` holds a spectral layer that `lower` does not know."""
    with quiet():
        from neuralop.layers.base_spectral_conv import BaseSpectralConv
    for name, part in module.named_modules():
        if isinstance(part, BaseSpectralConv):
            _check(name, part)


class Shapes:
    """Of every module that was called, the shapes that it took and gave."""

    def __init__(self) -> None:
        self._seen: dict[int, list[tuple[torch.Size, torch.Size]]] = {}

    def record(self, part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A forward hook."""
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            self._seen.setdefault(id(part), []).append((inputs[0].shape, output.shape))

    def grids(self, part: nn.Module) -> tuple[Grid, Grid] | None:
        """The grid that ``part`` takes and the one that it gives; None where it was not called."""
        found = {(tuple(taken[2:]), tuple(given[2:])) for taken, given in self._seen.get(id(part), ())}
        if len(found) > 1:
            raise ExportError(
                f"a {type(part).__name__} is used on several grids: give each grid a layer of its own"
            )
        return cast("tuple[Grid, Grid] | None", next(iter(found), None))


def _shapes(module: nn.Module, inputs: tuple[Tensor, ...]) -> Shapes:
    """Run ``module`` once, on the inputs, to see on which grid each part of it works."""
    shapes = Shapes()
    hooks = [part.register_forward_hook(shapes.record) for part in module.modules()]
    try:
        with torch.no_grad():
            module(*inputs)
    except (RuntimeError, TypeError, ValueError, LookupError) as error:
        given = ", ".join("×".join(map(str, value.shape)) for value in inputs)
        raise ExportError(
            f"the model does not take inputs of {given}: {str(error).strip().splitlines()[0]}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _check(name: str, layer: Any) -> None:
    """Refuse, in words, a spectral convolution that is not one of those that are lowered."""
    with quiet():
        from neuralop.layers.spectral_convolution import SpectralConv as Stock

    def refuse(what: str) -> ExportError:
        return ExportError(f"{name or 'the model'} is {what}, which cannot be lowered: {SUPPORTED}")

    if type(layer) is not Stock:
        raise refuse(f"a {type(layer).__module__}.{type(layer).__name__}")
    if layer.order != 2:
        raise refuse(f"{layer.order}-D")
    if layer.complex_data:
        raise refuse("for complex data")
    if layer.separable:
        raise refuse("separable")
    if layer.fno_block_precision != "full":
        raise refuse(f"in {layer.fno_block_precision} precision")
    if layer.fft_norm not in NORMS:
        raise refuse(f"of norm {layer.fft_norm!r}")
    kind = layer.weight.name.lower().removeprefix("complex")
    if kind not in FACTORISATIONS:
        raise refuse(f"factorised as {kind.upper()}")
    if any(n > most for n, most in zip(layer.n_modes, layer.max_n_modes, strict=True)):
        raise refuse("asked for more modes than its weight holds")


SUPPORTED = "only 2-D real spectral convolutions with dense or Tucker weights can be"


def _replacement(part: Any, shapes: Shapes, spectral: str) -> nn.Module:
    """What stands for ``part`` in the lowered module: itself, unless it works with shapes or spectra."""
    with quiet():
        from neuralop.layers.embeddings import GridEmbedding2D, GridEmbeddingND
        from neuralop.layers.padding import DomainPadding
        from neuralop.layers.spectral_convolution import SpectralConv as Stock
        from neuralop.models import UNO

    if isinstance(part, DomainPadding):
        return ConstantPadding(part) if part._padding else part
    grids = shapes.grids(part) if isinstance(part, Stock | GridEmbedding2D | GridEmbeddingND | UNO) else None
    if grids is None:
        return cast(nn.Module, part)
    if isinstance(part, Stock):
        return LoweredConv(part, *grids, spectral)
    if type(part).forward is UNO.forward:
        return LoweredUNO(part, shapes)
    if isinstance(part, GridEmbedding2D | GridEmbeddingND):
        return ConstantEmbedding(part, grids[0])
    return cast(nn.Module, part)


class LoweredConv(nn.Module):
    """A neuraloperator SpectralConv between two fixed grids, to be called as its owner does."""

    def __init__(self, layer: Any, grid: Grid, out_grid: Grid, spectral: str) -> None:
        super().__init__()
        channels = layer.in_channels, layer.out_channels
        if layer.bias is None:
            layer.bias = nn.Parameter(_real(layer).new_zeros(channels[1], 1, 1), requires_grad=False)
        self.grids = grid, out_grid
        if spectral == "auto":
            spectral = cheaper(grid, out_grid, tuple(layer.n_modes))
        self.conv = (
            layer
            if spectral == "fft"
            else FrozenSpectralConv(SpectralConv(layer), grid, out_grid, factorised=True)
        )
        self.resample = Resample()
        self.resample.fix(grid, out_grid, layer.bias)

    def forward(self, x: Tensor, output_shape: Any = None) -> Tensor:
        """``x`` (B, Ci, X, Y) to (B, Co, X', Y')."""
        if isinstance(self.conv, FrozenSpectralConv):
            return cast(Tensor, self.conv(x))
        return cast(Tensor, self.conv(x, output_shape=self.grids[1]))

    def transform(self, x: Tensor, output_shape: Any = None) -> Tensor:
        """``x`` (B, C, X, Y) of a skip connection, resampled to (B, C, X', Y')."""
        grid, out_grid = self.grids
        resampled: Tensor = self.resample(x.flatten(2), grid, out_grid)
        return resampled.view(*x.shape[:2], *out_grid)


class LoweredUNO(nn.Module):
    """neuraloperator's UNO on one grid, of the same parts."""

    def __init__(self, model: Any, shapes: Shapes) -> None:
        super().__init__()
        self.positional_embedding = model.positional_embedding
        self.lifting = model.lifting
        self.domain_padding = model.domain_padding
        self.fno_blocks = model.fno_blocks
        self.horizontal_skips = model.horizontal_skips
        self.projection = model.projection
        self.skips_map: dict[int, int] = dict(model.horizontal_skips_map)
        blocks = list(model.fno_blocks)
        given = [cast("tuple[Grid, Grid]", shapes.grids(block)) for block in blocks]
        self.sides = {i: (given[source][1], given[i][0]) for i, source in self.skips_map.items()}
        self.resamples = nn.ModuleDict({str(i): Resample() for i in self.sides})
        like = next(value for value in model.parameters() if not value.is_complex())
        for index, sides in self.sides.items():
            cast(Resample, self.resamples[str(index)]).fix(*sides, like)

    def forward(self, x: Tensor) -> Tensor:
        if self.positional_embedding is not None:
            x = self.positional_embedding(x)
        x = self.lifting(x)
        if self.domain_padding is not None:
            x = self.domain_padding.pad(x)
        skips: dict[int, Tensor] = {}
        for index, block in enumerate(self.fno_blocks):
            if index in self.skips_map:
                grid, out_grid = self.sides[index]
                skip = skips[self.skips_map[index]].flatten(2)
                skip = self.resamples[str(index)](skip, grid, out_grid)
                skip = skip.view(*skip.shape[:2], *out_grid)
                x = torch.cat((x, skip), dim=1)
            x = block(x)
            if str(index) in self.horizontal_skips:
                skips[index] = self.horizontal_skips[str(index)](x)
        if self.domain_padding is not None:
            x = self.domain_padding.unpad(x)
        return cast(Tensor, self.projection(x))


class ConstantEmbedding(nn.Module):
    """The coordinates of one grid as channels behind those of the input."""

    coordinates: Tensor

    def __init__(self, embedding: Any, grid: Grid) -> None:
        super().__init__()
        known = embedding._grid
        found = embedding.grid(torch.Size(grid), known[0].device, known[0].dtype)
        self.register_buffer("coordinates", torch.cat(tuple(found), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, C, X, Y) to (B, C + 2, X, Y)."""
        return torch.cat((x, self.coordinates.expand(x.shape[0], -1, -1, -1)), dim=1)


class ConstantPadding(nn.Module):
    """neuraloperator's padding of the domain as it was on the one grid that it has seen."""

    def __init__(self, padding: Any) -> None:
        super().__init__()
        if len(padding._padding) > 1 or len(padding._unpad_indices) > 1:
            raise ExportError("a padding of the domain is used on several grids: give each one of its own")
        self.sizes: list[int] = [int(size) for size in next(iter(padding._padding.values()))]
        self.inside = next(iter(padding._unpad_indices.values()))

    def pad(self, x: Tensor) -> Tensor:
        """``x`` with zeros around it."""
        return pad(x, self.sizes)

    def unpad(self, x: Tensor) -> Tensor:
        """``x`` without what `pad` put around it."""
        return x[self.inside]


def _real(layer: Any) -> Tensor:
    """A real view of some weight of ``layer``, for its type and place."""
    return torch.view_as_real(next(_complex_parameters(layer)).detach())


def _complex_parameters(layer: nn.Module) -> Iterator[nn.Parameter]:
    return (value for value in layer.parameters() if value.is_complex())
