"""Which runtimes really run here, on which device: found by running them, not by asking for their lists.

A plugin's runtime is asked.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ptprof.errors import unknown
from ptprof.runtimes import PRECISIONS, RUNTIMES, runner_class
from ptprof.runtimes.device import resolve_device


def provider(runtime: str, device: str, precision: str = "fp32") -> str:
    """What runs ``runtime`` on ``device``, such as ``CPUExecutionProvider``.

    Raises
    ------
    UsageError : a runtime or a precision that is not known
    RuntimeUnavailable : the device, or what the runtime needs on it, is not here
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if runtime not in RUNTIMES:
        return runner_class(runtime).available(resolve_device(device), precision)
    place = resolve_device(device)
    if runtime == "onnxruntime":
        return _onnxruntime(place, precision)
    if runtime == "openvino":
        from ptprof.runtimes import openvino

        openvino.on_cpu(place)
        openvino.check_precision(precision)
        return openvino.NAMES[openvino.HINTS[precision]]
    from ptprof.runtimes.eager import provider as torch_provider

    if runtime == "compile":
        from ptprof.runtimes.compile import BY, check_compiler

        check_compiler(place)
        return torch_provider(place, precision, by=BY)
    return torch_provider(place, precision)


def _onnxruntime(device: str, precision: str) -> str:
    """The provider of a session that was opened."""
    from ptprof.runtimes.onnxruntime import check_precision, open_session

    check_precision(precision)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.onnx"
        path.write_bytes(_identity())
        name: str = open_session(path, device, threads=1).get_providers()[0]
    return name


def _identity() -> bytes:
    """The smallest ONNX model: y = x."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    serialised: bytes = model.SerializeToString()
    return serialised
