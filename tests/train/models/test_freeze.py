"""Frozen models: traced, exported, and run by ONNX Runtime as the trained ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from ptprof.errors import UsageError
from ptprof.train.models import build
from ptprof.train.models.spectral import freeze
from ptprof.train.recipe import Recipe

OPERATORS = ["fno", "tfno", "ufno"]
GRID = (16, 32)


def relative(value: Tensor, reference: Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


@pytest.fixture
def trained(narrow: Recipe) -> Callable[[str], nn.Module]:
    """Give a model with weights of its own in eval mode."""

    def make(name: str) -> nn.Module:
        torch.manual_seed(0)
        return build(name, narrow).eval()

    return make


@pytest.mark.parametrize("name", OPERATORS)
def test_a_frozen_model_is_real_constant_and_the_same(name: str, trained: Callable[[str], nn.Module]) -> None:
    model = trained(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    frozen = freeze(model, GRID)
    x = torch.randn(3, 16, *GRID)
    with torch.no_grad():
        assert relative(frozen(x), model(x)) <= 1e-6
    tensors = [*frozen.parameters(), *frozen.buffers()]
    assert not any(t.is_complex() or t.requires_grad for t in tensors)
    assert not frozen.training
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", OPERATORS)
def test_another_grid_is_refused_in_words(name: str, trained: Callable[[str], nn.Module]) -> None:
    frozen = freeze(trained(name), GRID)
    with pytest.raises(UsageError, match=r"fixed to a grid of 16×32, but its input has 32×16"):
        frozen(torch.randn(1, 16, 32, 16))


@pytest.mark.parametrize("name", OPERATORS)
def test_a_trace_holds_no_complex_number_and_no_batch_size(
    name: str, trained: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    model = trained(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(freeze(model, GRID), torch.randn(2, 16, *GRID))
    torch.jit.save(traced, tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    assert not any(word in str(loaded.inlined_graph) for word in ("fft", "complex", "Complex", "upsample"))
    for batch in (1, 5):
        x = torch.randn(batch, 16, *GRID)
        with torch.no_grad():
            assert relative(loaded(x), model(x)) <= 1e-6


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")  # torch's own exporter
@pytest.mark.parametrize("name", OPERATORS)
def test_onnx_runtime_agrees_for_any_batch(
    name: str, trained: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    model = trained(name)
    program = torch.onnx.export(
        freeze(model, GRID),
        (torch.randn(2, 16, *GRID),),
        dynamo=True,
        opset_version=20,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    path = tmp_path / "model.onnx"
    program.save(path)
    graph = onnx.load(path)
    kinds = {node.op_type for node in graph.graph.node}
    assert not kinds & {"DFT", "Resize", "STFT", "If", "Loop", "Scan"}
    assert {node.domain for node in graph.graph.node} <= {""}
    complex_types = {onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128}
    assert not any(weight.data_type in complex_types for weight in graph.graph.initializer)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        x = torch.randn(batch, 16, *GRID)
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            assert relative(torch.from_numpy(y), model(x)) <= 1e-6


def test_a_frozen_unet_is_a_copy_in_eval_mode(narrow: Recipe) -> None:
    model = build("unet-cp", narrow).train()
    x = torch.randn(2, 16, 48, 96)
    model(x)
    frozen = freeze(model, (48, 96))
    with torch.no_grad():
        assert torch.equal(frozen(x), model.eval()(x))
    assert all(
        torch.equal(a, b)
        for a, b in zip(frozen.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_models_inside_a_larger_module_are_frozen_too(narrow: Recipe) -> None:
    outer = nn.Sequential(nn.Identity(), build("fno", narrow))
    frozen = freeze(outer, GRID)
    assert not any(t.is_complex() for t in [*frozen.parameters(), *frozen.buffers()])
