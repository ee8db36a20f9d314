"""FNO, TFNO and UFNO from neuraloperator 2.0.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from ptprof.errors import unknown
from ptprof.plugins.importing import quiet
from ptprof.train.models import operators

Spectral = Literal["gemm", "fft"]
SPECTRAL: tuple[Spectral, ...] = ("gemm", "fft")
SCALINGS = (0.5, 0.5, 0.5, 1, 2, 2, 2)
"""Three levels down, a layer on the coarsest, three levels up."""


def fno(
    in_channels: int,
    out_channels: int,
    *,
    hidden_channels: int,
    modes: int,
    factorization: str | None = None,
    spectral: str = "gemm",
) -> nn.Module:
    """FNO (Li et al., arXiv:2010.08895) as The Well's benchmark has it: four layers, no channel MLP, no grid.

    With ``factorization="Tucker"`` at rank 1 it is the benchmark's TFNO.
    """
    with quiet():
        from neuralop.models import FNO

        model = plain(FNO)(
            n_modes=(modes, modes),
            in_channels=in_channels,
            out_channels=out_channels,
            hidden_channels=hidden_channels,
            n_layers=4,
            positional_embedding=None,
            use_channel_mlp=False,
            factorization=factorization,
            rank=1.0,
        )
    return _lowered(model, operators.FNO, spectral)


def ufno(
    in_channels: int,
    out_channels: int,
    *,
    hidden_channels: int,
    lifting_channels: int,
    projection_channels: int,
    layer_channels: Sequence[int],
    modes: Sequence[int],
    spectral: str = "gemm",
) -> nn.Module:
    """A U-shaped neural operator (Rahman et al., arXiv:2204.11127) with skips, three levels deep.

    ``layer_channels`` and ``modes`` give the seven layers' output channels and modes.
    """
    with quiet():
        from neuralop.models import UNO

        model = plain(UNO)(
            in_channels=in_channels,
            out_channels=out_channels,
            hidden_channels=hidden_channels,
            lifting_channels=lifting_channels,
            projection_channels=projection_channels,
            positional_embedding=None,
            n_layers=len(SCALINGS),
            uno_out_channels=list(layer_channels),
            uno_n_modes=[[m, m] for m in modes],
            uno_scalings=[[s, s] for s in SCALINGS],
            channel_mlp_skip="linear",
        )
    return _lowered(model, operators.UNO, spectral)


def _lowered(model: nn.Module, lowering: type[nn.Module], spectral: str) -> nn.Module:
    if spectral not in SPECTRAL:
        raise unknown("spectral implementation", spectral, SPECTRAL)
    return lowering(model) if spectral == "gemm" else model


def plain(model: type[nn.Module]) -> type[nn.Module]:
    """``model`` with torch's own state dict: neuraloperator's puts its constructor's arguments into it."""

    class Plain(model):  # type: ignore[misc, valid-type]
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return nn.Module.state_dict(self, *args, **kwargs)

    return Plain
