"""What is taken out of an ONNX graph leaves what it computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from ptprof.export.graph_passes import simplify

SHAPE = (2, 3, 5, 7)


def padding(pads: list[int], mode: str) -> onnx.ModelProto:
    """A graph that pads its input and doubles the result."""
    value, number = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    out = [size + pads[axis] + pads[axis + 4] for axis, size in enumerate(SHAPE)]
    nodes = [
        onnx.helper.make_node("Pad", ["x", "pads"], ["padded"], mode=mode),
        onnx.helper.make_node("Add", ["padded", "padded"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "padding",
        [value("x", number, ["batch", *SHAPE[1:]])],
        [value("y", number, ["batch", *out[1:]])],
        [onnx.helper.make_tensor("pads", onnx.TensorProto.INT64, [8], pads)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def simplified(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = ir.from_proto(proto)
    simplify(model)
    done = ir.to_proto(model)
    onnx.checker.check_model(done, full_check=True)
    return done


def kinds(proto: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in proto.graph.node}


@pytest.mark.parametrize(
    "pads", [[0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 3, 0, 0, 0, 3], [0, 0, 2, 0, 0, 0, 0, 4]]
)
def test_padding_that_wraps_becomes_slices(pads: list[int]) -> None:
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    done = simplified(padding(pads, "wrap"))
    assert "Pad" not in kinds(done)
    (y,) = ReferenceEvaluator(done).run(None, {"x": x})
    np.testing.assert_array_equal(y, 2 * np.pad(x, list(zip(pads[:4], pads[4:], strict=True)), mode="wrap"))


def test_other_padding_stays() -> None:
    assert kinds(simplified(padding([0, 0, 1, 1, 0, 0, 1, 1], "constant"))) == {"Pad", "Add"}
