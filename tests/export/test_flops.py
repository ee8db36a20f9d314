"""Counts against arithmetic, torch's own counter, and each other."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ptprof.errors import ExportError
from ptprof.export.flops import Flops, flops_of_module, flops_of_onnx
from ptprof.train.models import build
from ptprof.train.models.spectral import freeze
from ptprof.train.recipe import load_recipe

GRID = (48, 96)


def test_a_convolution_a_gelu_and_a_product_by_hand() -> None:
    module = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(5 * 8 * 6, 7))
    found = flops_of_module(module, torch.zeros(2, 3, 8, 6))
    weights = 5 * 3 * 9 + 5 + 7 * 240 + 7
    assert found.convolutions == 2 * 2 * (5 * 8 * 6) * (3 * 9)
    assert found.products == 2 * 2 * 240 * 7
    assert found.elementwise == 2 * 240
    assert found.weight_bytes == 4 * weights
    assert found.io_bytes == 4 * (2 * 3 * 48 + 2 * 7)
    # Convolution and GELU write 480 values each and read what was there; the product reads its weights.
    moved = (2 * 144 + 140 + 480) + (480 + 480) + (480 + 1680 + 7 + 14)
    assert found.moved_bytes == 4 * moved
    assert found.total == found.convolutions + found.products + found.elementwise


def test_transforms_by_the_usual_convention() -> None:
    class Transforms(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(x), s=(8, 16))

    found = flops_of_module(Transforms(), torch.zeros(3, 8, 16))
    assert found.transforms >= round(2 * 2.5 * 3 * 128 * math.log2(128)) * 0.99
    assert found.transforms <= round(2 * 5 * 3 * 128 * math.log2(128))


def test_views_and_copies_compute_nothing() -> None:
    class Moved(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((x.transpose(1, 2).reshape(2, -1), x.flatten(1)), dim=1).clone()

    assert flops_of_module(Moved(), torch.zeros(2, 3, 4)).total == 0


@pytest.mark.parametrize("name", ["unet-cp", "fno", "ufno"])
def test_products_and_convolutions_as_torch_counts_them(name: str) -> None:
    model, x = freeze(build(name, "quick"), GRID), torch.zeros(1, 16, *GRID)
    found = flops_of_module(model, x)
    twin = freeze(build(name, "quick"), GRID).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(x.to("meta"))
    assert found.products + found.convolutions == counter.get_total_flops()


def test_lowered_transforms_are_what_the_formula_of_the_rule_says() -> None:
    """The rule counts by a formula; the graph has so many products and no others."""
    from ptprof.export.lowering import lower
    from ptprof.plugins.importing import quiet
    from ptprof.train.models.spectral_choice import operations

    with quiet():
        from neuralop.layers.spectral_convolution import SpectralConv
    channels, modes, batch = 3, (12, 12), 2
    x = torch.zeros(batch, channels, 16, 24)
    found = flops_of_module(lower(nn.Sequential(SpectralConv(channels, channels, modes)), x), x)
    transforms, _ = operations((16, 24), (16, 24), (12, 7))
    mixing = 8 * 12 * 7 * channels * channels
    assert found.products == batch * (channels * transforms + mixing)


def test_the_graph_and_the_module_have_the_same_products(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(3, 4, 2, stride=2), nn.GELU()).eval()
    x = torch.zeros(3, 2, 8, 10)
    graph = onnx.parser.parse_model(
        """
        <ir_version: 10, opset_import: ["" : 20]>
        graph (float[batch, 2, 8, 10] x) => (float[batch, 4, 12, 16] y) {
            h = Conv(x, w1)
            t = ConvTranspose<strides = [2, 2]>(h, w2)
            y = Gelu(t)
        }
        """
    )
    for name, weight in (("w1", module[0].weight), ("w2", module[1].weight)):
        graph.graph.initializer.append(onnx.numpy_helper.from_array(weight.detach().numpy(), name=name))
    path = tmp_path / "model.onnx"
    onnx.save(graph, path)
    found, expected = flops_of_onnx(path, batch=3), flops_of_module(module, x)
    assert found.convolutions == expected.convolutions
    assert found.elementwise == expected.elementwise
    assert found.io_bytes == expected.io_bytes
    assert found.weight_bytes == 4 * (module[0].weight.numel() + module[1].weight.numel())


def test_the_batch_counts_and_the_model_stays_as_it_was() -> None:
    x, y = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", d]) for n, d in (("x", 4), ("y", 5))
    )
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 5], [0.0] * 20)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    before = model.SerializeToString()
    one, three = flops_of_onnx(model), flops_of_onnx(model, batch=3)
    assert (one.products, three.products) == (40, 120)
    assert (one.weight_bytes, three.weight_bytes) == (80, 80)
    assert three.io_bytes == 3 * 4 * 9
    assert model.SerializeToString() == before


def test_a_graph_whose_shapes_depend_on_values_is_refused() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, None)
    model = helper.make_model(
        helper.make_graph([helper.make_node("NonZero", ["x"], ["y"])], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 20)],
    )
    with pytest.raises(ExportError, match="shape of 'y' cannot be told"):
        flops_of_onnx(model)


def test_paper_sizes_take_no_time_and_no_memory() -> None:
    """256×512 at the paper's width: a layer's transforms and mixing by hand, 1.3 GFLOP."""
    found = flops_of_module(
        freeze(build("fno", load_recipe("paper")), (256, 512)), torch.zeros(1, 16, 256, 512)
    )
    pointwise = 2 * 256 * 512 * (16 * 256 + 256 * 128 + 4 * 128 * 128 + 128 * 256 + 256 * 4)
    per_layer = (found.products - pointwise) / 4
    assert per_layer == pytest.approx(1.3e9, rel=0.05)


def test_counts_add_up() -> None:
    assert Flops(products=1, moved_bytes=2) + Flops(products=3, io_bytes=5) == Flops(
        products=4, io_bytes=5, moved_bytes=2
    )
