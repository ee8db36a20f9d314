"""What is ONNX Runtime's own: the provider that really runs, and its threads."""

import subprocess
import sys

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from ptprof.environment import cores
from ptprof.errors import RuntimeUnavailable
from ptprof.runtimes import open_runner
from ptprof.runtimes.availability import provider
from ptprof.runtimes.noise import Noise
from ptprof.runtimes.onnxruntime import OnnxRuntimeQuery, open_session, providers


def test_a_provider_that_is_not_here_is_an_error_and_never_the_cpu(files, capfd):
    """ONNX Runtime lists the CUDA provider and takes it, says so on stderr at most, and runs on the CPU."""
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(RuntimeUnavailable, match="CUDAExecutionProvider"):
        open_session(files["onnxruntime"], "cuda:0", None)
    assert capfd.readouterr() == ("", "")


def test_on_a_gpu_tf32_is_off_unless_asked_for_and_the_device_is_the_one_named():
    (name, options), (fallback, _) = providers("cuda:1")
    assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options == {"device_id": 1, "use_tf32": 0}
    assert providers("cuda:1", tf32=True)[0][1]["use_tf32"] == 1
    assert providers("cpu") == [("CPUExecutionProvider", {})]


def test_as_cuda_graphs_everything_runs_on_the_gpu():
    assert providers("cuda:0", graphs=True) == [
        ("CUDAExecutionProvider", {"device_id": 0, "use_tf32": 0, "enable_cuda_graph": 1})
    ]


def test_each_binding_of_a_query_that_is_asked_again_gets_a_graph_of_its_own(files, states):
    """On the CPU the numbers mean nothing: what is computed must stay the same."""
    session = open_session(files["onnxruntime"], "cpu", 1)
    ids = iter(range(1, 99))
    once, again = (OnnxRuntimeQuery(session, states(1), 3, Noise.none(3), ids=ids) for _ in range(2))
    once()
    again()
    again()
    again()
    assert torch.equal(once.result, again.result)
    assert next(ids) == 4


def test_bf16_is_refused_with_the_runtime_that_has_it(open_small):
    for ask in (
        lambda: open_small("onnxruntime", precision="bf16"),
        lambda: provider("onnxruntime", "cpu", "bf16"),
    ):
        with pytest.raises(RuntimeUnavailable, match="--runtime openvino runs the same file in bf16"):
            ask()


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (3, 3), (None, cores())])
def test_threads_are_those_asked_for_or_the_cores(threads, expected, files):
    session = open_session(files["onnxruntime"], "cpu", threads)
    assert session.get_session_options().intra_op_num_threads == expected


def test_naming_the_runtimes_loads_none_of_them():
    code = "import sys, ptprof.runtimes; print(sorted({'torch', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_rollout_never_writes_the_window_that_it_reads(tmp_path):
    """What is forecast needs the window after the next one is written: in one buffer it would be nothing."""
    window, state = ["batch", 2, 1, 2, 2], ["batch", 1, 2, 2]
    value, number = helper.make_tensor_value_info, TensorProto.FLOAT
    nodes = [
        helper.make_node("Mul", ["state", "two"], ["state_out"]),
        helper.make_node("Sub", ["state_out", "state"], ["difference"]),
        helper.make_node("Gather", ["difference", "newest"], ["next"], axis=1),
    ]
    constants = [
        helper.make_tensor("two", number, [], [2.0]),
        helper.make_tensor("newest", TensorProto.INT64, [], [1]),
    ]
    outputs = [value("next", number, state), value("state_out", number, window)]
    graph = helper.make_graph(nodes, "doubling", [value("state", number, window)], outputs, constants)
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "model.onnx")
    start = torch.rand(1, 2, 1, 2, 2)
    with open_runner("onnxruntime", tmp_path / "model.onnx") as runner:
        rollout = runner.rollout(start, 5)
    factors = 2.0 ** torch.arange(5).view(1, 5, 1, 1, 1)
    assert torch.equal(rollout, factors * start[:, 1:2])
