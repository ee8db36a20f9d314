"""What is in a file is told without running any of it; what is no file of ours is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from ptprof.errors import ExportError
from ptprof.export.flops import flops_of_module
from ptprof.export.show import contents, metadata_of
from ptprof.runtimes.metadata import Metadata


@pytest.fixture(scope="module")
def files(exported: Callable[..., object]) -> tuple[object, Path]:
    """An FNO's step, and the folder of its files."""
    found = exported("fno")
    return found, found.folder


def test_a_graph_is_counted(files: tuple[object, Path]) -> None:
    step, folder = files[0].step, files[1]
    found = contents(folder / "model.onnx")
    counted = flops_of_module(step, *step.example(1))
    assert found.flops_by_kind.products == counted.products
    assert found.flops_by_kind.transforms == 0
    assert found.flops == sum(found.flops_by_kind.model_dump().values())
    assert found.operations["MatMul"] + found.operations.get("Gemm", 0) >= 4 * 4
    assert sum(found.operations.values()) == len(onnx.load(folder / "model.onnx").graph.node)
    weights = sum(
        onnx.numpy_helper.to_array(t).nbytes for t in onnx.load(folder / "model.onnx").graph.initializer
    )
    assert found.weight_bytes == weights
    assert found.file_bytes == (folder / "model.onnx").stat().st_size


def test_a_script_is_read_as_text(files: tuple[object, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither torch.jit nor the pickle in it is asked."""
    path = files[1] / "model.pt"
    loaded = torch.jit.load(path)
    kinds: dict[str, int] = {}
    for node in loaded.inlined_graph.nodes():
        if node.kind().startswith("aten::"):
            name = node.kind().removeprefix("aten::")
            kinds[name] = kinds.get(name, 0) + 1
    monkeypatch.setattr(torch.jit, "load", None)
    monkeypatch.setattr(torch, "load", None)
    found = contents(path)
    for name in ("matmul", "bmm", "gelu", "baddbmm"):
        assert found.operations.get(name, 0) == kinds.get(name, 0), name
    frozen = sum(value.numel() * 4 for value in files[0].step.model.buffers())
    assert found.weight_bytes == pytest.approx(frozen, rel=0.01)


def test_both_say_the_same_of_themselves(files: tuple[object, Path], metadata: Metadata) -> None:
    for name in ("model.onnx", "model.pt"):
        assert metadata_of(files[1] / name) == metadata
        found = contents(files[1] / name)
        assert found.inputs == {"state": (4, 4, 48, 96)}
        assert found.outputs == {"next": (4, 48, 96), "state_out": (4, 4, 48, 96)}


def test_machine_code_is_left_alone(files: tuple[object, Path], tmp_path: Path) -> None:
    """Of a .pt2 only the metadata is read: here nothing else is in it."""
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        said = files[0].metadata.model_copy(update={"parameters": 7, "flops": 11})
        archive.writestr("model/extra/ptprof.json", json.dumps(said.properties()))
    found = contents(path)
    assert (found.operations, found.parameters, found.flops) == (None, 7, 11)
    assert found.weight_bytes is None


def test_what_is_cut_is_told_so(files: tuple[object, Path], tmp_path: Path) -> None:
    for name in ("model.onnx", "model.pt"):
        whole = (files[1] / name).read_bytes()
        for share in (0.3, 0.9):
            cut = tmp_path / name
            cut.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(ExportError, match="is cut or not"):
                contents(cut)


def test_what_is_not_ptprofs_is_told_so(files: tuple[object, Path], tmp_path: Path) -> None:
    foreign = onnx.load(files[1] / "model.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "model.onnx")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "model.pt")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("model.onnx", "model.pt", "empty.onnx"):
        with pytest.raises(ExportError, match="not ptprof's"):
            contents(tmp_path / name)


def test_damaged_metadata_is_told_so(files: tuple[object, Path], tmp_path: Path) -> None:
    damaged = onnx.load(files[1] / "model.onnx")
    (grid,) = (entry for entry in damaged.metadata_props if entry.key == "grid")
    grid.value = "[48,"
    onnx.save(damaged, tmp_path / "model.onnx")
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/extra/ptprof.json", '{"format": "ptprof"}')
    for name in ("model.onnx", "model.pt"):
        with pytest.raises(ExportError, match="damaged"):
            contents(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "says"), [("model.txt", "no exported file"), ("model.onnx", "is not there")]
)
def test_what_is_no_file_is_told_so(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=says):
        contents(tmp_path / name)
