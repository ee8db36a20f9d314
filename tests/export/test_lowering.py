"""Lowered modules compute what neuraloperator 2.0.0 does, traced and exported too; the rest is refused."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ptprof.errors import ExportError, UsageError
from ptprof.export.lowering import ConstantEmbedding, LoweredConv, lower
from ptprof.export.reference import DoubleSpectra, float64
from ptprof.plugins.importing import quiet
from ptprof.train.models.frozen import FrozenSpectralConv

with quiet():
    from neuralop.layers.spectral_convolution import SpectralConv
    from neuralop.models import FNO, TFNO, UNO

GRID = (16, 24)


def relative(value: Tensor, reference: Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


def perturbed(module: nn.Module) -> nn.Module:
    """``module`` with weights such that gates, norms and biases are none of them what they begin as."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in (*module.parameters(), *module.buffers()):
            if value.is_floating_point():
                value.add_(0.1 * torch.randn(value.shape, generator=generator).abs())
    return module.eval()


def uno(**changes: Any) -> nn.Module:
    fields: dict[str, Any] = {
        "lifting_channels": 6,
        "projection_channels": 6,
        "n_layers": 5,
        "uno_out_channels": [4, 6, 6, 4, 4],
        "uno_n_modes": [[8, 8], [6, 5], [5, 4], [6, 6], [7, 8]],
        "uno_scalings": [[1, 1], [0.5, 0.5], [1, 1], [2, 2], [1, 1]],
        "channel_mlp_skip": "linear",
    }
    with quiet():
        return UNO(3, 2, 6, **{**fields, **changes})


# What a module is called with, and what it is: every part of neuraloperator that a user may have chosen.
MODELS: dict[str, tuple[Any, tuple[int, int]]] = {
    "fno": (lambda: FNO((8, 8), 3, 2, 6, n_layers=2), GRID),
    "fno of all modes, odd": (lambda: FNO((21, 33), 3, 2, 4, n_layers=2), (21, 33)),
    "fno of more modes than there are": (lambda: FNO((40, 40), 3, 2, 4, n_layers=1), (15, 16)),
    "fno scaled": (lambda: FNO((8, 8), 3, 2, 4, n_layers=2, resolution_scaling_factor=[2, 0.5]), (15, 22)),
    "fno fewer modes than weights": (lambda: FNO((8, 6), 3, 2, 4, n_layers=1, max_n_modes=(13, 7)), GRID),
    "fno preactivated": (
        lambda: FNO((6, 6), 3, 2, 4, n_layers=2, norm="instance_norm", preactivation=True, stabilizer="tanh"),
        GRID,
    ),
    "fno without skips": (
        lambda: FNO((6, 6), 3, 2, 4, n_layers=2, norm="batch_norm", fno_skip=None, channel_mlp_skip=None),
        GRID,
    ),
    "tfno padded": (
        lambda: TFNO((8, 8), 3, 2, 6, n_layers=2, rank=0.4, norm="group_norm", domain_padding=[0.1, 0.2]),
        GRID,
    ),
    "tfno reconstructed": (lambda: TFNO((8, 8), 3, 2, 6, n_layers=1, implementation="reconstructed"), GRID),
    "uno": (uno, (24, 32)),
    "uno odd, padded, factorised": (
        lambda: uno(domain_padding=0.2, factorization="tucker", rank=0.5),
        (23, 31),
    ),
    "uno without embedding": (lambda: uno(positional_embedding=None, horizontal_skips_map={4: 0}), (24, 30)),
    "within another module": (
        lambda: nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), FNO((8, 8), 3, 2, 4, n_layers=1), nn.Tanh()),
        GRID,
    ),
}


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    """A module, and three samples for it."""
    make, grid = MODELS[request.param]
    torch.manual_seed(0)
    with quiet():
        return perturbed(make()), torch.randn(3, 3, *grid)


def test_a_lowered_module_computes_the_same(model: tuple[nn.Module, Tensor]) -> None:
    """As near to float64 as the module itself in single precision is, and itself in float64."""
    module, x = model
    lowered = lower(module, x)
    with torch.no_grad():
        own, found = module(x), lowered(x)
        with DoubleSpectra():
            exact = float64(module)(x.double())
            again = lower(float64(module), x.double())(x.double())
    assert relative(found, own) <= 1e-6
    assert relative(found.double(), exact) <= max(1e-6, 2 * relative(own.double(), exact))
    assert relative(again, exact) <= 1e-7  # neuraloperator's embedding is in single precision
    assert not any(value.is_complex() for value in (*lowered.parameters(), *lowered.buffers()))


@pytest.mark.parametrize("spectral", ["gemm", "fft"])
def test_a_trace_holds_for_any_batch(model: tuple[nn.Module, Tensor], spectral: str) -> None:
    module, x = model
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        # neuraloperator's own layers compare shapes; the lowered ones do not.
        warnings.simplefilter("ignore" if spectral == "fft" else "default", torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python boolean")  # its norms
        traced = torch.jit.trace(lower(module, x[:2], spectral=spectral), x[:2], check_trace=False)
        frozen = torch.jit.freeze(traced.eval())
        assert ("fft_rfftn" in str(frozen.inlined_graph)) == (spectral == "fft")
        for batch in (x[:1], x):
            assert relative(frozen(batch), module(batch)) <= 1e-6


@given(
    grid=st.tuples(st.integers(5, 33), st.integers(5, 33)),
    out_grid=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    modes=st.tuples(st.integers(1, 36), st.integers(1, 36)),
    rank=st.one_of(st.none(), st.floats(0.2, 1.0)),
    norm=st.sampled_from(["forward", "backward", "ortho"]),
    bias=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_spectral_convolution_between_any_grids(
    grid: tuple[int, int],
    out_grid: tuple[int, int],
    modes: tuple[int, int],
    rank: float | None,
    norm: str,
    bias: bool,
) -> None:
    """Odd and even, from one mode to more than there are, growing and shrinking, in double precision."""
    torch.manual_seed(0)
    layer = float64(
        SpectralConv(
            2, 3, modes, factorization=rank and "tucker", rank=rank or 1.0, fft_norm=norm, bias=bias
        ).eval()
    )
    x = torch.randn(2, 2, *grid, dtype=torch.float64)

    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(x, output_shape=out_grid)
            return y

    with torch.no_grad(), DoubleSpectra():
        expected = Between()(x)
        found = lower(Between(), x)(x)
    scale = max(float(expected.norm()), 1e-3)
    assert float((found - expected).norm()) <= 1e-12 * scale


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")  # torch's own exporter
@pytest.mark.parametrize("name", ["uno odd, padded, factorised"])
def test_onnx_runtime_agrees_for_any_batch(name: str, tmp_path: Path) -> None:
    make, grid = MODELS[name]
    torch.manual_seed(0)
    with quiet():
        module = perturbed(make())
    x = torch.randn(5, 3, *grid)
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        lower(module, x),
        (x[:2],),
        path,
        opset_version=20,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (x[:1], x):
        (y,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
        with torch.no_grad():
            assert relative(torch.from_numpy(y), module(batch)) <= 1e-6


@pytest.mark.gpu
def test_lowered_on_a_gpu_is_the_cpus(model: tuple[nn.Module, Tensor]) -> None:
    """The products mean on any device what neuraloperator's layers mean on a CPU."""
    module, x = model
    with torch.no_grad():
        expected = module(x)
        found = lower(copy.deepcopy(module).cuda(), x.cuda())(x.cuda()).cpu()
    assert relative(found, expected) <= 1e-5


def test_the_module_itself_stays_as_it_was() -> None:
    module = FNO((8, 8), 3, 2, 4, n_layers=1).train()
    before = {name: value.clone() for name, value in nn.Module.state_dict(module).items()}
    lowered = lower(module, torch.randn(1, 3, *GRID))
    after = nn.Module.state_dict(module)
    assert module.training
    assert not lowered.training
    assert all(value.requires_grad for value in module.parameters())
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_auto_takes_what_the_rule_says_for_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    from ptprof.export import lowering

    monkeypatch.setattr(lowering, "cheaper", lambda grid, out_grid, modes: "fft" if modes[0] > 8 else "gemm")
    module = nn.Sequential(SpectralConv(3, 3, (8, 8)), SpectralConv(3, 3, (12, 12)))
    lowered = lower(module, torch.randn(1, 3, *GRID), spectral="auto")
    assert [isinstance(part.conv, FrozenSpectralConv) for part in lowered] == [True, False]
    assert all(isinstance(part, LoweredConv) for part in lowered)


def test_a_part_that_is_used_twice_stays_one_part() -> None:
    shared = SpectralConv(3, 3, (6, 6))
    lowered = lower(nn.Sequential(shared, nn.Tanh(), shared), torch.randn(1, 3, *GRID))
    assert lowered[0] is lowered[2]


def test_a_module_without_such_layers_is_copied() -> None:
    module = nn.Conv2d(3, 2, 3)
    x = torch.randn(1, 3, *GRID)
    assert torch.equal(lower(module, x)(x), module(x))


def test_coordinates_are_constants() -> None:
    lowered = lower(FNO((6, 6), 3, 2, 4, n_layers=1), torch.randn(1, 3, *GRID))
    (embedding,) = (part for part in lowered.modules() if isinstance(part, ConstantEmbedding))
    along_x, along_y = embedding.coordinates[0]
    torch.testing.assert_close(along_x[:, 0], torch.arange(16) / 16)
    torch.testing.assert_close(along_y[0], torch.arange(24) / 24)


def conv(**changes: Any) -> nn.Module:
    return SpectralConv(4, 4, **{"n_modes": (4, 4), **changes})


def unsupported() -> Iterator[Any]:
    with quiet():
        from neuralop.layers.legacy_spectral_convolution import SpectralConv as Legacy
    flat, solid = torch.randn(1, 4, 16), torch.randn(1, 4, 8, 8, 8)
    field = torch.randn(1, 4, *GRID)
    yield pytest.param(lambda: conv(n_modes=(4,)), flat, "1-D", id="1-D")
    yield pytest.param(lambda: conv(n_modes=(4, 4, 4)), solid, "3-D", id="3-D")
    yield pytest.param(lambda: conv(factorization="cp"), field, "CP", id="CP")
    yield pytest.param(lambda: conv(factorization="tt"), field, "TT", id="tensor train")
    yield pytest.param(lambda: conv(separable=True), field, "separable", id="separable")
    yield pytest.param(lambda: conv(complex_data=True), field, "complex data", id="complex")
    yield pytest.param(lambda: conv(fno_block_precision="mixed"), field, "mixed precision", id="mixed")
    yield pytest.param(lambda: Legacy(4, 4, (4, 4)), field, "legacy_spectral_convolution", id="legacy")


@pytest.mark.parametrize(("make", "x", "says"), list(unsupported()))
def test_what_is_not_supported_is_refused_in_one_line(make: Any, x: Tensor, says: str) -> None:
    with pytest.raises(ExportError, match=says) as refused:
        lower(nn.Sequential(make()), x)
    assert "\n" not in str(refused.value)
    assert "2-D" in str(refused.value)


class TwoGrids(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = SpectralConv(3, 3, (4, 4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(self.layer(x)[:, :, ::2])
        return y


def test_a_layer_on_two_grids_is_refused() -> None:
    with pytest.raises(ExportError, match="several grids"):
        lower(TwoGrids(), torch.randn(1, 3, *GRID))


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ExportError, match="does not take inputs of 1×5×16×24"):
        lower(FNO((6, 6), 3, 2, 4, n_layers=1), torch.randn(1, 5, *GRID))


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'gemm'"):
        lower(nn.Identity(), torch.randn(1, 3, *GRID), spectral="gem")
