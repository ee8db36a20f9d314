"""The repository for Triton, its configuration read by the published schema, its files by their backends."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from google.protobuf import text_format

from ptprof.errors import ExportError, UsageError
from ptprof.export.triton import BACKENDS, configuration, names, write_model
from ptprof.runtimes.metadata import Metadata, Signature

FILES = {"onnx": "model.onnx", "torchscript": "model.pt"}


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    """Triton's model_config.proto, compiled, as tritonclient ships it.

    The package around it wants gRPC, which this does not.
    """
    package = importlib.util.find_spec("tritonclient").submodule_search_locations[0]
    path = Path(package) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parse(schema: ModuleType) -> Callable[[str], Any]:
    """Read a config.pbtxt; an unknown field or a value of another type is an error."""
    return lambda text: text_format.Parse(text, schema.ModelConfig())


@pytest.fixture(scope="module")
def files(exported: Callable[..., Any]) -> Path:
    return exported("fno").folder


def dims(tensors: Any) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.dims) for tensor in tensors}


def test_an_onnx_model_keeps_its_names(
    files: Path, parse: Callable[[str], Any], schema: ModuleType, tmp_path: Path
) -> None:
    folder = write_model(tmp_path, "fno", "onnx", files / "model.onnx", max_batch=16)
    config = parse((folder / "config.pbtxt").read_text())
    assert (config.name, config.backend, config.platform) == ("fno", "onnxruntime", "onnxruntime_onnx")
    assert config.max_batch_size == 16
    assert config.HasField("dynamic_batching")
    assert {tensor.data_type for tensor in (*config.input, *config.output)} == {schema.TYPE_FP32}
    # What the backend checks: the names and shapes of the file, which lead with a free batch.
    session = onnxruntime.InferenceSession(
        folder / "1" / config.default_model_filename, providers=["CPUExecutionProvider"]
    )
    for tensors, declared in ((session.get_inputs(), config.input), (session.get_outputs(), config.output)):
        assert {tensor.name: tensor.shape[1:] for tensor in tensors} == dims(declared)
        assert all(isinstance(tensor.shape[0], str) for tensor in tensors)


def test_a_torchscript_model_goes_by_position(
    files: Path, parse: Callable[[str], Any], tmp_path: Path
) -> None:
    folder = write_model(tmp_path, "fno-torchscript", "torchscript", files / "model.pt")
    config = parse((folder / "config.pbtxt").read_text())
    assert (config.backend, config.platform) == ("pytorch", "pytorch_libtorch")
    assert dims(config.input) == {"INPUT__0": [4, 4, 48, 96]}
    assert dims(config.output) == {"OUTPUT__0": [4, 48, 96], "OUTPUT__1": [4, 4, 48, 96]}
    # The backend hands the inputs over in order, and takes a tuple's parts in order.
    given = torch.jit.load(folder / "1" / config.default_model_filename)(torch.zeros(2, 4, 4, 48, 96))
    assert [list(tensor.shape) for tensor in given] == [[2, *shape.dims] for shape in config.output]


def test_a_static_batch_is_part_of_the_shapes(metadata: Metadata, parse: Callable[[str], Any]) -> None:
    config = parse(
        configuration("fno", BACKENDS["onnx"], metadata.model_copy(update={"batch": 4}), max_batch=16)
    )
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert dims(config.input) == {"state": [4, 4, 4, 48, 96]}
    assert dims(config.output) == {"next": [4, 4, 48, 96], "state_out": [4, 4, 4, 48, 96]}


def test_noise_and_other_signatures(metadata: Metadata, parse: Callable[[str], Any]) -> None:
    samples = metadata.model_copy(update={"nfe": 4, "sampler": "midpoint"})
    config = parse(configuration("flow-matching", BACKENDS["torchscript"], samples))
    assert dims(config.input) == {"INPUT__0": [4, 4, 48, 96], "INPUT__1": [4, 48, 96]}
    points = Signature(input="points", takes=(2,), output="u", gives=(1,))
    pinn = Metadata(model="nn", run="nn", signature=points, fields=("u",), units={}, versions={})
    config = parse(configuration("nn", BACKENDS["onnx"], pinn))
    assert (dims(config.input), dims(config.output)) == ({"points": [2]}, {"u": [1]})


def test_what_clients_need_is_in_the_parameters(metadata: Metadata, parse: Callable[[str], Any]) -> None:
    """Text with quotes, backslashes and letters beyond ASCII comes back as it was."""
    strange = metadata.model_copy(update={"model": 'ν "x" \\ \n\t', "units": {"tracer": "µg/m³"}})
    config = parse(configuration("fno", BACKENDS["onnx"], strange))
    said = {key: value.string_value for key, value in config.parameters.items()}
    assert said["ptprof.model"] == strange.model
    assert json.loads(said["ptprof.grid"]) == [48, 96]
    assert json.loads(said["ptprof.units"]) == {"tracer": "µg/m³"}
    np.testing.assert_allclose(json.loads(said["ptprof.statistics"])["std"], metadata.statistics.std)


def test_a_model_that_is_there_stays_unless_forced(files: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path, "fno", "onnx", files / "model.onnx")
    (folder / "1" / "mine").touch()
    with pytest.raises(UsageError, match="--force"):
        write_model(tmp_path, "fno", "onnx", files / "model.onnx")
    assert (folder / "1" / "mine").exists()
    write_model(tmp_path, "fno", "onnx", files / "model.onnx", max_batch=3, force=True)
    assert not (folder / "1" / "mine").exists()
    assert "max_batch_size: 3" in (folder / "config.pbtxt").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fno"]


def test_nothing_is_left_of_a_model_that_cannot_be_written(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    folder = write_model(repository, "fno", "onnx", files / "model.onnx")
    before = (folder / "config.pbtxt").read_text()

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space"):
        write_model(repository, "fno", "onnx", files / "model.onnx", max_batch=3, force=True)
    assert [path.name for path in repository.iterdir()] == ["fno"]
    assert (folder / "config.pbtxt").read_text() == before


def test_what_triton_has_no_backend_for_is_refused(files: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known: onnx, torchscript"):
        write_model(tmp_path, "fno", "pt2", files / "model.pt2")
    (tmp_path / "cut.onnx").write_bytes((files / "model.onnx").read_bytes()[:1000])
    with pytest.raises(ExportError, match="cut"):
        write_model(tmp_path / "repository", "fno", "onnx", tmp_path / "cut.onnx")
    assert not (tmp_path / "repository").exists()


def test_names_in_the_repository() -> None:
    assert names(("onnx", "torchscript"), "fno") == {"onnx": "fno", "torchscript": "fno-torchscript"}
    assert names(("torchscript",), "fno", "b4") == {"torchscript": "fno-b4"}
