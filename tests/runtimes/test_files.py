"""Files that are cut, are not a step, or are not ptprof's."""

import onnx
import pytest
import torch
from torch import nn

from ptprof.errors import StudyError
from ptprof.runtimes import open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.torchscript import without_deprecation

FILES = ("torchscript", "onnxruntime")
runtimes = pytest.mark.parametrize("runtime", FILES)


def refused(runtime, path):
    """The one line that opening ``path`` is refused with."""
    with pytest.raises(StudyError) as caught:
        open_runner(runtime, path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@runtimes
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95, 0.999])
def test_a_file_that_is_cut(runtime, share, files, tmp_path, capfd):
    content = files[runtime].read_bytes()
    path = tmp_path / files[runtime].name
    path.write_bytes(content[: int(share * len(content))])
    assert "is cut or not" in refused(runtime, path)
    assert capfd.readouterr() == ("", "")


@runtimes
@pytest.mark.parametrize("content", [b"not a model at all\n" * 50, bytes(1000), b"PK\x03\x04" + bytes(100)])
def test_a_file_of_something_else(runtime, content, tmp_path, capfd):
    path = tmp_path / "model"
    path.write_bytes(content)
    refused(runtime, path)
    assert capfd.readouterr() == ("", "")


@runtimes
def test_a_file_that_is_not_there(runtime, tmp_path):
    assert "not there" in refused(runtime, tmp_path / "model")
    assert "not there" in refused(runtime, tmp_path)


@runtimes
def test_a_file_of_the_other_format(runtime, files):
    other = files[FILES[1 - FILES.index(runtime)]]
    assert "is cut or not" in refused(runtime, other)


def test_a_checkpoint_is_not_a_torchscript_file(tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "checkpoint.pt")
    assert "is cut or not" in refused("torchscript", tmp_path / "checkpoint.pt")


def test_an_onnx_file_of_another_model(tmp_path):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", 1, ["n"])], [value("y", 1, ["n"])]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    assert "not a forecast step: it takes x and gives y" in refused("onnxruntime", tmp_path / "model.onnx")


def changed_metadata(source, target, change):
    model = onnx.load(source)
    properties = change({entry.key: entry.value for entry in model.metadata_props})
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(
    "change", [{"grid": "[8,"}, {"grid": "[8]"}, {"statistics": "{}"}, {"history": '"two"'}]
)
def test_metadata_that_cannot_be_read(change, files, tmp_path):
    path = changed_metadata(files["onnxruntime"], tmp_path / "model.onnx", lambda p: p | change)
    assert "metadata that cannot be read" in refused("onnxruntime", path)


def test_metadata_of_another_grid(files, tmp_path):
    path = changed_metadata(files["onnxruntime"], tmp_path / "model.onnx", lambda p: p | {"grid": "[16, 24]"})
    assert "says that it takes" in refused("onnxruntime", path)


def test_a_step_of_someone_else_runs_and_says_nothing_of_itself(files, step, states, tmp_path):
    path = changed_metadata(files["onnxruntime"], tmp_path / "model.onnx", lambda p: {})
    with open_runner("onnxruntime", path) as runner:
        assert runner.metadata is None
        assert runner.state_shape == (2, 3, 8, 12)
        torch.testing.assert_close(runner.step(states(1))[0], step(states(1))[0], rtol=1e-5, atol=2e-6)

    class Persistence(nn.Module):
        def forward(self, state):
            return state[:, -1], torch.cat((state[:, 1:], state[:, -1:]), dim=1)

    with without_deprecation():
        torch.jit.trace(Persistence(), states(2)).save(tmp_path / "model.pt")
    with open_runner("torchscript", tmp_path / "model.pt") as runner:
        assert runner.metadata is None
        assert torch.equal(runner.rollout(states(1), 2)[:, 1], states(1)[:, -1])


def test_metadata_survive_as_text(metadata):
    properties = metadata.properties()
    assert all(isinstance(value, str) for value in properties.values())
    assert Metadata.from_properties(properties) == metadata
    assert Metadata.from_properties({}) is None
    assert Metadata.from_properties({"format": "another's"}) is None
    assert Metadata.from_properties(properties | {"added": "by a tool"}) == metadata
    with pytest.raises(ValueError, match="grid"):
        Metadata.from_properties({k: v for k, v in properties.items() if k != "grid"})


def test_a_torchscript_file_without_a_step(tmp_path):
    class Other(nn.Module):
        @torch.jit.export
        def other(self, x: torch.Tensor):
            return x

    with without_deprecation():
        torch.jit.script(Other()).save(tmp_path / "model.pt")
    assert "not a TorchScript file of a forecast step" in refused("torchscript", tmp_path / "model.pt")
