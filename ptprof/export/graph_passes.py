"""What is taken out of an ONNX graph because some runtime is slow with it, or cannot read it."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnx_ir.tape import Tape

# They broadcast their inputs by themselves.
_BROADCASTING = frozenset({"Add", "Sub", "Mul", "Div", "MatMul"})
_END = 2**63 - 1


def simplify(model: ir.Model) -> None:
    """Take out of ``model`` expansions that broadcasting makes needless, and padding that wraps."""
    _drop_expansions(model)
    _unroll_wrapping(model)
    RemoveUnusedNodesPass()(model)


def _drop_expansions(model: ir.Model) -> None:
    """Take out what expands an operand to a shape that the operation would broadcast it to anyway.

    Each costs a copy, and they are the only reason to compute with shapes, which a GPU leaves to the CPU.
    """
    for node in list(model.graph):
        if node.op_type != "Expand":
            continue
        source, expanded = node.inputs[0], node.outputs[0]
        if source is not None and all(_broadcasts(user, expanded) for user, _ in expanded.uses()):
            expanded.replace_all_uses_with(source)


def _broadcasts(user: ir.Node, expanded: ir.Value) -> bool:
    """Whether the other operand of ``user`` has the shape already that ``expanded`` was brought to."""
    others = [value for value in user.inputs if value is not None and value is not expanded]
    if user.op_type not in _BROADCASTING or len(others) != 1:
        return False
    own, other = expanded.shape, others[0].shape
    if own is None or other is None:
        return False
    # The last two dimensions of a matrix are not broadcast.
    return list(own)[:-2] == list(other)[:-2] if user.op_type == "MatMul" else list(own) == list(other)


def _unroll_wrapping(model: ir.Model) -> None:
    """Write padding that wraps as slices and concatenations: OpenVINO reads no other."""
    for node in list(model.graph):
        mode = node.attributes.get("mode")
        if node.op_type != "Pad" or mode is None or mode.as_string() != "wrap":
            continue
        margins = _constant(node.inputs[1])
        source, padded = node.inputs[0], node.outputs[0]
        if margins is None or source is None or len(node.inputs) > 3:
            continue
        tape = Tape(model.graph)
        half = len(margins) // 2
        field = source
        for axis, (before, after) in enumerate(zip(margins[:half], margins[half:], strict=True)):
            parts = [
                _slice(tape, field, axis, -before, _END) if before else None,
                field,
                _slice(tape, field, axis, 0, after) if after else None,
            ]
            kept = [part for part in parts if part is not None]
            if len(kept) > 1:
                field = tape.op("Concat", kept, {"axis": axis})
        field.shape, field.type = padded.shape, padded.type
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], tape.nodes, [padded], [field])


def _constant(value: ir.Value | None) -> list[int] | None:
    """The integers that ``value`` holds; None where they are computed."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else [int(number) for number in tensor.numpy().flatten()]


def _slice(tape: Tape, field: ir.Value, axis: int, start: int, end: int) -> ir.Value:
    numbers = (tape.op("Constant", [], {"value_ints": [number]}) for number in (start, end, axis))
    return tape.op("Slice", [field, *numbers])
