"""The ONNX file: standard operators only, any batch, the same numbers by more than one engine."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch import nn

import ptprof
from ptprof.errors import ExportError
from ptprof.export import DeployableStep
from ptprof.export.onnx import OPSET, check, write_onnx
from ptprof.runtimes import open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.train.recipe import DEPLOYABLE


@pytest.mark.parametrize("name", DEPLOYABLE)
def test_a_graph_is_standard_and_real(name, exported):
    model = onnx.load(exported(name).folder / "model.onnx")
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert not model.functions
    operators = {node.op_type for node in model.graph.node}
    assert {node.domain for node in model.graph.node} == {""}
    assert not operators & {"DFT", "STFT", "If", "Loop", "Scan", "Resize"}
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert kinds <= {TensorProto.FLOAT, TensorProto.INT64}


@pytest.mark.parametrize("name", DEPLOYABLE)
def test_nothing_is_computed_with_shapes(name, exported):
    """A GPU leaves that to the CPU, and waits for it."""
    model = onnx.load(exported(name).folder / "model.onnx")
    assert not {node.op_type for node in model.graph.node} & {
        "Shape",
        "Expand",
        "Gather",
        "Identity",
        "BatchNormalization",
    }


@pytest.mark.parametrize("name", DEPLOYABLE)
def test_only_the_batch_is_free(name, exported):
    graph = onnx.load(exported(name).folder / "model.onnx").graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }
    noise = {"noise": ["batch", 4, 48, 96]} if name == "flow-matching" else {}
    assert shapes == noise | {
        "state": ["batch", 4, 4, 48, 96],
        "next": ["batch", 4, 48, 96],
        "state_out": ["batch", 4, 4, 48, 96],
    }


def test_the_weights_of_a_network_that_is_evaluated_twice_are_in_the_file_once(exported):
    model = exported("flow-matching")
    graph = onnx.load(model.folder / "model.onnx").graph
    weights = sum(parameter.numel() for parameter in model.trained.parameters())
    assert 0.99 * weights < sum(np.prod(tensor.dims) for tensor in graph.initializer) < 1.01 * weights
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 2 * 18
    assert len({node.input[1] for node in convolutions}) == 18


def test_a_file_holds_no_path_of_the_machine_that_wrote_it(exported):
    content = (exported("ufno").folder / "model.onnx").read_bytes()
    for folder in (Path(ptprof.__file__).parent, Path(torch.__file__).parent, Path.home()):
        assert str(folder).encode() not in content
    assert b"stack_trace" not in content


def test_metadata_come_back_as_they_were_written(exported):
    model = exported("fno")
    proto = onnx.load(model.folder / "model.onnx", load_external_data=False)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    assert Metadata.from_properties(properties) == model.metadata


@pytest.mark.parametrize("name", ["fno", "ufno", "unet-cp", "flow-matching"])
def test_the_reference_evaluator_of_onnx_agrees(name, exported, states, tmp_path):
    """A second engine, written in NumPy by others: what both give is in the file and not in one of them."""
    model = exported(name)
    inputs = model.inputs(states(1))
    proto = onnx.load(model.folder / "model.onnx")
    given = {name: value.numpy() for name, value in zip(("state", "noise"), inputs, strict=False)}
    following, state_out = ReferenceEvaluator(proto).run(None, given)
    with torch.inference_mode():
        expected, expected_out = model.step(*inputs)
    std = np.reshape(model.metadata.statistics.std, (4, 1, 1))
    np.testing.assert_allclose(following / std, expected.numpy() / std, rtol=1e-5, atol=2e-5)
    np.testing.assert_array_equal(state_out[:, :-1], expected_out[:, :-1].numpy())


def test_the_exporter_says_nothing(tmp_path, metadata, statistics, capfd, caplog, recwarn):
    step = DeployableStep(nn.Conv2d(16, 4, 3, padding=1), statistics, 4, metadata.grid).eval()
    write_onnx(step, metadata, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert not caplog.text
    assert not recwarn.list


class Fourier(nn.Module):
    """A module that takes a Fourier transform."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(torch.fft.rfft2(x[:, :4])).sum(-1).repeat(1, 1, 1, 2)[..., :96]


class Untranslatable(nn.Module):
    """A module that no exporter can know the graph of."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :4] if float(x.sum()) > 0 else x[:, 4:8]


@pytest.mark.parametrize("module", [Fourier(), Untranslatable()])
def test_what_onnx_cannot_hold_is_one_line_and_leaves_nothing(module, tmp_path, metadata, statistics):
    step = DeployableStep(module, statistics, 4, metadata.grid).eval()
    with pytest.raises(ExportError) as caught:
        write_onnx(step, metadata, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def model_of(*nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT, domain: str = "") -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "graph", [value("x", kind, [1, 4, 1])], [value("y", kind, None)])
    opsets = [helper.make_opsetid("", OPSET)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (model_of(helper.make_node("DFT", ["x"], ["y"])), "DFT"),
        (
            model_of(helper.make_node("Rfft", ["x"], ["y"], domain="com.microsoft"), domain="com.microsoft"),
            "Rfft",
        ),
        (model_of(helper.make_node("Identity", ["x"], ["y"]), kind=TensorProto.COMPLEX64), "complex"),
        (model_of(helper.make_node("Relu", ["nowhere"], ["y"])), "not valid"),
    ],
)
def test_check_refuses_what_does_not_run_everywhere(model, named):
    with pytest.raises(ExportError, match=named) as caught:
        check(model)
    assert "\n" not in str(caught.value)


class Expanding(nn.Module):
    """Expands weights to the batch; in the second case only the expansion makes the shape."""

    def __init__(self, needed: bool) -> None:
        super().__init__()
        self.needed = needed
        self.weight = nn.Parameter(torch.randn(4, 16))
        self.bias = nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, _, X, Y = x.shape
        y = torch.bmm(self.weight.expand(batch, -1, -1), x.flatten(2)).unflatten(2, (X, Y))
        bias = self.bias.expand(batch, 4, X, Y)
        return y + bias.flatten(0, 1).cumsum(0).unflatten(0, (batch, 4)) if self.needed else y + bias


@pytest.mark.parametrize("needed", [False, True])
def test_only_an_expansion_that_broadcasting_makes_anyway_is_taken_out(
    needed, tmp_path, statistics, metadata
):
    step = DeployableStep(Expanding(needed), statistics, 4, metadata.grid).eval()
    write_onnx(step, metadata, tmp_path / "model.onnx")
    state = torch.randn(3, *metadata.state_shape)
    with torch.inference_mode(), open_runner("onnxruntime", tmp_path / "model.onnx") as runner:
        torch.testing.assert_close(runner.step(state)[0], step(state)[0], rtol=1e-4, atol=1e-4)
    operators = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert operators.count("Expand") == int(needed)
