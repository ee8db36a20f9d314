"""The step as an ONNX file: opset 20, any batch size, nothing outside the standard."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass

from ptprof.errors import ExportError
from ptprof.export.fold import folded
from ptprof.export.step import DeployableStep
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.noise import NOISE
from ptprof.runtimes.onnxruntime import INPUT, OUTPUTS

OPSET = 20
BATCH = "batch"
LARGEST_BYTES = 2**31 - 1

# They broadcast their inputs by themselves.
_BROADCASTING = frozenset({"Add", "Sub", "Mul", "Div", "MatMul"})
_COMPLEX = frozenset({onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128})
_FOURIER = frozenset({"DFT", "STFT"})
_TALKATIVE = ("torch.__trace", "torch.export", "torch.onnx", "onnxscript", "onnx_ir")


def write_onnx(step: DeployableStep, metadata: Metadata, path: Path) -> None:
    """Write ``step`` as one ONNX file at ``path``: input ``state``, outputs ``next`` and ``state_out``;
    ``noise`` is an input too where the step takes some.

    Raises
    ------
    ExportError : a step that the exporter cannot translate, one that needs what `check` refuses, or one
        with more weights than one ONNX file can hold (2 GiB)
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in step.state_dict().values())
    if size > LARGEST_BYTES:
        raise ExportError(
            f"the weights take {size} bytes, and one ONNX file holds {LARGEST_BYTES}: use torchscript"
        )
    model = _translate(step, metadata)
    _drop_expansions(model)
    # The exporter notes for each node which line of which file it comes from: not for others to read.
    ClearMetadataAndDocStringPass()(model)
    model.metadata_props.update(metadata.properties())
    model.producer_name, model.producer_version = "ptprof", metadata.versions.get("ptprof", "")
    proto = ir.to_proto(model)
    check(proto)
    path.write_bytes(proto.SerializeToString())


def check(proto: onnx.ModelProto) -> None:
    """Refuse a model that would not run everywhere: complex types, DFT, operators outside the standard.

    Raises
    ------
    ExportError : naming the first such thing, or what the ONNX checker found
    """
    foreign = {f"{n.domain}.{n.op_type}" for n in proto.graph.node if n.domain not in ("", "ai.onnx")}
    foreign |= {f"function {function.name}" for function in proto.functions}
    foreign |= {n.op_type for n in proto.graph.node if n.op_type in _FOURIER}
    if foreign:
        raise ExportError(f"the ONNX graph holds what not every runtime has: {', '.join(sorted(foreign))}")
    graph = proto.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    types = {value.type.tensor_type.elem_type for value in values} | {t.data_type for t in graph.initializer}
    if types & _COMPLEX:
        raise ExportError("the ONNX graph holds complex numbers, which no runtime computes with")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the ONNX graph is not valid: {str(error).splitlines()[0]}") from error


def _translate(step: DeployableStep, metadata: Metadata) -> ir.Model:
    example = step.example(metadata.state_shape)
    names = [INPUT, NOISE][: len(example)]
    batch = torch.export.Dim(BATCH)
    try:
        with _quiet():
            # Capturing here and not in the exporter lets guards on the batch be deferred: where a stride is
            # computed from it, the exporter would try, fail and try again in other ways.
            program = torch.export.export(
                folded(step),
                example,
                dynamic_shapes={name: {0: batch} for name in names},
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            exported = torch.onnx.export(
                program,
                opset_version=OPSET,
                input_names=names,
                output_names=list(OUTPUTS),
                dynamic_shapes={name: {0: BATCH} for name in names},
                external_data=False,
                verbose=False,
            )
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise ExportError(f"the step cannot be translated to ONNX: {_first_line(error)}") from error
    if exported is None:
        raise ExportError("the step cannot be translated to ONNX: the exporter gave nothing")
    model: ir.Model = exported.model
    return model


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
    RemoveUnusedNodesPass()(model)


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


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter without what it says on the way: other libraries' deprecations, advice, what it skips."""
    loggers = [
        logging.getLogger(name)
        for name in ("torch.__trace", "torch.export", "torch.onnx", "onnxscript", "onnx_ir")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    """The first line of the deepest cause: what torch wraps around it is advice for its own developers."""
    cause: Any = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
