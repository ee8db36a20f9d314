"""Which runtimes really run here, on which device: found by running them, not by asking for their lists."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from ptprof.errors import unknown
from ptprof.runtimes import RUNTIMES
from ptprof.runtimes.device import resolve_device


def provider(runtime: str, device: str) -> str:
    """What runs ``runtime`` on ``device``, such as ``CPUExecutionProvider``.

    Raises
    ------
    UsageError : a runtime that is not known
    RuntimeUnavailable : the device, or what the runtime needs on it, is not here
    """
    if runtime not in RUNTIMES:
        raise unknown("runtime", runtime, RUNTIMES)
    place = resolve_device(device)
    if runtime != "onnxruntime":
        return f"torch {torch.device(place).type}"
    from ptprof.runtimes.onnxruntime import open_session

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.onnx"
        path.write_bytes(_identity())
        session = open_session(path, place, threads=1)
    name: str = session.get_providers()[0]
    return name


def _identity() -> bytes:
    """The smallest ONNX model: y = x."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    serialised: bytes = model.SerializeToString()
    return serialised
