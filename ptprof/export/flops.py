"""What one call of a model computes and moves, counted from its operations; nothing is computed.

A product of (m, k) and (k, n) counts 2·m·k·n, four times that if it is complex, a convolution two for every
weight that meets a value, a real Fourier transform of N points 2.5·N·log₂N (a complex one twice that, the
usual convention), and everything else one for each element of its largest operand: a GELU counts as much as a
sum. Copies count none.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import shape_inference
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ptprof.errors import ExportError


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one call by kind, and the bytes behind them.

    ``weight_bytes`` and ``io_bytes``, the weights and the model's own inputs and outputs, are the least that
    any machine has to move; ``moved_bytes`` is what is moved where every operation reads its operands and
    writes its result by itself, which fused kernels do less of.
    """

    products: int = 0
    convolutions: int = 0
    transforms: int = 0
    elementwise: int = 0
    weight_bytes: int = 0
    io_bytes: int = 0
    moved_bytes: int = 0

    @property
    def total(self) -> int:
        """All floating-point operations."""
        return self.products + self.convolutions + self.transforms + self.elementwise

    def __add__(self, other: Flops) -> Flops:
        names = (field.name for field in fields(self))
        return Flops(**{name: getattr(self, name) + getattr(other, name) for name in names})


def flops_of_module(module: nn.Module, *inputs: Tensor) -> Flops:
    """What ``module`` computes for ``inputs``, of which only shapes and types count.

    Counted on the meta device, so that a model of any size takes milliseconds and no memory; the plain forms
    of what `ptprof.train.models.fused` does on a CPU are counted. The module has to keep its tensors in
    parameters and buffers.
    """
    twin = copy.deepcopy(module).to("meta").eval()
    there = [value.to("meta") for value in inputs]
    counter = _Counter()
    with torch.no_grad(), counter:
        outputs = twin(*there)
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    weights = {id(value): _nbytes(value) for value in (*twin.parameters(), *twin.buffers())}
    around = sum(map(_nbytes, (*inputs, *tensors)))
    return counter.counted + Flops(weight_bytes=sum(weights.values()), io_bytes=around)


_MOVES = frozenset(
    {
        "_to_copy", "arange", "cat", "clone", "constant_pad_nd", "contiguous", "copy_", "detach_", "empty",
        "empty_like", "empty_strided", "fill_", "full", "index", "index_select", "lift_fresh", "linspace",
        "new_empty", "new_zeros", "ones", "repeat", "roll", "slice_scatter", "stack", "zero_", "zeros",
        "zeros_like",
    }
)  # fmt: skip
_FREE = frozenset({"_unsafe_view", "_reshape_alias", "alias", "detach"})
_TRANSFORMS = {"_fft_r2c": 2.5, "_fft_c2r": 2.5, "_fft_c2c": 5.0}


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what every operation that torch dispatches costs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted = Flops()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        result = func(*args, **given)
        name: str = func.overloadpacket.__name__
        if not (func.is_view or name in _FREE):
            self.counted += _cost(func, name, args, given, result)
        return result


def _cost(func: Any, name: str, args: tuple[Any, ...], given: dict[str, Any], result: Any) -> Flops:
    operands = [leaf for leaf in tree_leaves((args, given, result)) if isinstance(leaf, Tensor)]
    moved = sum(map(_nbytes, operands))
    if func.overloadpacket in flop_registry:
        count = int(flop_registry[func.overloadpacket](*args, **given, out_val=result))
        count *= 4 if result.is_complex() else 1
        kind = "convolutions" if "conv" in name else "products"
        return Flops(**{kind: count, "moved_bytes": moved})
    largest = max((operand.numel() for operand in operands), default=0)
    if name in _TRANSFORMS:
        real = max(operand.numel() for operand in (args[0], result) if isinstance(operand, Tensor))
        shape = result.shape if name == "_fft_c2r" else args[0].shape
        points = math.prod(shape[dim] for dim in args[1])
        return Flops(transforms=round(_TRANSFORMS[name] * real * math.log2(points)), moved_bytes=moved)
    return Flops(elementwise=0 if name in _MOVES else largest, moved_bytes=moved)


def _nbytes(tensor: Tensor) -> int:
    """The bytes of ``tensor`` that are there: what was expanded is read once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return math.prod(sizes) * tensor.element_size()


Shape = tuple[int, ...]

_ONNX_FREE = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape"})
_ONNX_MOVES = frozenset(
    {"Transpose", "Slice", "Concat", "Expand", "Gather", "Pad", "Cast", "Split", "Tile", "ConstantOfShape"}
)


def flops_of_onnx(model: onnx.ModelProto | Path, batch: int = 1) -> Flops:
    """What the graph of ``model``, a model or its file, computes for ``batch`` samples.

    Raises
    ------
    ExportError : a graph in which the shape of a value cannot be told
    """
    proto = onnx.load(model) if isinstance(model, Path) else copy.deepcopy(model)
    values = _values(proto, batch)
    weights = {tensor.name for tensor in proto.graph.initializer}
    around = [value.name for value in (*proto.graph.input, *proto.graph.output) if value.name not in weights]
    total = Flops(
        weight_bytes=sum(values.bytes(name) for name in weights), io_bytes=sum(map(values.bytes, around))
    )
    for node in proto.graph.node:
        if node.op_type not in _ONNX_FREE:
            total += _onnx_cost(node, values)
    return total


class _Values:
    """Shape and size of every value of a graph."""

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self.item_bytes: dict[str, int] = {}

    def add(self, name: str, shape: Shape, data_type: int) -> None:
        self.shapes[name] = shape
        self.item_bytes[name] = onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize

    def shape(self, name: str) -> Shape:
        if name not in self.shapes:
            raise ExportError(f"the shape of {name!r} cannot be told from the ONNX graph")
        return self.shapes[name]

    def size(self, name: str) -> int:
        return math.prod(self.shape(name))

    def bytes(self, name: str) -> int:
        return self.size(name) * self.item_bytes[name]


def _values(proto: onnx.ModelProto, batch: int) -> _Values:
    """The shapes of all values where every free dimension of the inputs is ``batch``."""
    graph = proto.graph
    for value in graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = batch
    # What was written for any batch would stand in the way of what follows from this one.
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=True, data_prop=True
        ).graph
    except shape_inference.InferenceError as error:
        raise ExportError(f"the ONNX graph is not valid: {str(error).splitlines()[0]}") from error
    values = _Values()
    for tensor in graph.initializer:
        values.add(tensor.name, tuple(tensor.dims), tensor.data_type)
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            values.add(value.name, tuple(dim.dim_value for dim in kind.shape.dim), kind.elem_type)
    return values


def _onnx_cost(node: onnx.NodeProto, values: _Values) -> Flops:
    names = [name for name in (*node.input, *node.output) if name]
    moved = sum(map(values.bytes, names))
    out = values.size(node.output[0])
    if node.op_type in ("MatMul", "Gemm"):
        first = values.shape(node.input[0])
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return Flops(products=2 * out * (first[-2] if transposed else first[-1]), moved_bytes=moved)
    if node.op_type in ("Conv", "ConvTranspose"):
        # Both kinds of weight are (outer, inner per group, …): each outer value meets all of the inner.
        outer = out if node.op_type == "Conv" else values.size(node.input[0])
        return Flops(convolutions=2 * outer * math.prod(values.shape(node.input[1])[1:]), moved_bytes=moved)
    largest = 0 if node.op_type in _ONNX_MOVES else max(map(values.size, names))
    return Flops(elementwise=largest, moved_bytes=moved)
