"""The step as an ONNX file: opset 20, any batch size, nothing outside the standard."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import cast

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from ptprof.errors import ExportError
from ptprof.export.capture import BATCH, FAILURES, captured, first_line, quiet
from ptprof.export.channels_last import channels_last
from ptprof.export.graph_passes import simplify
from ptprof.export.step import Deployable
from ptprof.runtimes.metadata import Metadata

OPSET = 20
LARGEST_BYTES = 2**31 - 1

_COMPLEX = frozenset({onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128})
_FOURIER = frozenset({"DFT", "STFT"})


def write_onnx(step: Deployable, metadata: Metadata, path: Path) -> None:
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
    simplify(model)
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


def _translate(step: Deployable, metadata: Metadata) -> ir.Model:
    try:
        program = captured(cast(Deployable, channels_last(copy.deepcopy(step))), metadata.batch)
        with quiet():
            exported = torch.onnx.export(
                program,
                opset_version=OPSET,
                input_names=list(step.inputs),
                output_names=list(step.outputs),
                dynamic_shapes=None if metadata.batch else tuple({0: BATCH} for _ in step.inputs),
                external_data=False,
                verbose=False,
            )
    except FAILURES as error:
        raise ExportError(f"the step cannot be translated to ONNX: {first_line(error)}") from error
    if exported is None:
        raise ExportError("the step cannot be translated to ONNX: the exporter gave nothing")
    model: ir.Model = exported.model
    return model
