"""A user's own module as files: each computes what the module does, or is not kept."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ptprof.errors import ExportError, ParityError, UsageError
from ptprof.export import own
from ptprof.export.own import examples, export_module
from ptprof.export.step import Deployable
from ptprof.plugins.importing import quiet
from ptprof.records import ModuleArtifact
from ptprof.runtimes import open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.study import read_record

GRID = (18, 25)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    with quiet():
        from neuralop.models import TFNO

        return TFNO((8, 8), 3, 2, 6, n_layers=1, rank=0.3).eval()


def script(module: nn.Module, folder: Path, **changes: Any) -> ModuleArtifact:
    """The quickest of the formats."""
    return export_module(module, examples(3, GRID), folder, ("torchscript",), **changes)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")  # torch's own exporter
def test_the_example_of_the_docs_runs(tmp_path: Path, pages: ModuleType) -> None:
    names = pages.follow(pages.DOCS / "own-model.md", tmp_path)
    record = read_record(tmp_path / "exported" / "artifact.json", ModuleArtifact)
    assert record == names["record"]
    assert [file.format for file in record.files] == ["onnx", "torchscript"]
    assert all(file.parity.one_step_float64 <= 1e-6 for file in record.files)
    assert not record.files[0].parity.synthetic
    # Twice on other samples, and the second time another number of them.
    for file, runtime in zip(record.files, ("onnxruntime", "torchscript"), strict=True):
        with open_runner(runtime, tmp_path / "exported" / file.name) as runner:
            for count in (1, 5):
                x = torch.randn(count, 3, 32, 48)
                with torch.no_grad():
                    wanted = names["model"](x)
                assert float((runner.step(x)[0] - wanted).norm() / wanted.norm()) <= 1e-6
            with pytest.raises(UsageError, match="takes \\(B, 3, 32, 48\\)"):
                runner.step(torch.randn(1, 3, 48, 32))


def test_the_file_says_what_it_is(module: nn.Module, tmp_path: Path) -> None:
    record = script(module, tmp_path / "out", name="mine", checkpoint_sha256="ab", synthetic=True)
    with open_runner("torchscript", tmp_path / "out" / "model.pt") as runner:
        said = runner.metadata
    assert said is not None
    assert (said.model, said.checkpoint_sha256, said.spectral) == ("mine", "ab", "gemm")
    assert said.inputs == {"input": (3, *GRID)}
    assert said.outputs == {"output": (2, *GRID)}
    assert said.parameters == sum(p.numel() * (2 if p.is_complex() else 1) for p in module.parameters())
    assert record.files[0].parity.synthetic
    assert (record.takes, record.gives) == ((3, *GRID), (2, *GRID))


def test_a_static_batch_is_in_the_name_and_binds(module: nn.Module, tmp_path: Path) -> None:
    record = script(module, tmp_path / "out", batch=3)
    assert record.files[0].name == "model-b3.pt"
    with open_runner("torchscript", tmp_path / "out" / "model-b3.pt") as runner:
        assert runner.step(torch.randn(3, 3, *GRID))[0].shape == (3, 2, *GRID)
        with pytest.raises(UsageError, match="takes \\(3, 3, 18, 25\\)"):
            runner.step(torch.randn(2, 3, *GRID))


@pytest.mark.parametrize("spectral", ["gemm", "fft"])
def test_the_layers_compute_as_they_are_told(module: nn.Module, tmp_path: Path, spectral: str) -> None:
    script(module, tmp_path / "out", spectral=spectral)
    with open_runner("torchscript", tmp_path / "out" / "model.pt") as runner:
        assert runner.metadata is not None
        assert runner.metadata.spectral == spectral


def test_what_is_there_stays_unless_forced(module: nn.Module, tmp_path: Path) -> None:
    script(module, tmp_path / "out")
    before = (tmp_path / "out" / "model.pt").read_bytes()
    with torch.no_grad():
        module.projection.fcs[1].bias += 1
    with pytest.raises(UsageError, match="--force"):
        script(module, tmp_path / "out")
    assert (tmp_path / "out" / "model.pt").read_bytes() == before
    script(module, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "model.pt").read_bytes() != before


def test_a_file_that_computes_something_else_is_not_kept(
    module: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = own.WRITERS["torchscript"]

    def slightly_off(step: Deployable, metadata: Metadata, path: Path) -> None:
        with torch.no_grad():
            for value in step.parameters():
                value.mul_(1 + 1e-4)
        write(step, metadata, path)

    monkeypatch.setitem(own.WRITERS, "torchscript", slightly_off)
    with pytest.raises(ParityError, match="TFNO as torchscript: its error against float64"):
        script(module, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean()


class Infinite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (Pair(), "one tensor"),
        (Mean(), "one tensor, its batch first"),
        (Infinite(), "not finite"),
        (nn.Conv2d(5, 2, 1), "does not take an input of 2×3×18×25"),
    ],
)
def test_what_is_no_map_of_one_tensor_to_another_is_refused(
    broken: nn.Module, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=says) as refused:
        script(broken, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_random_inputs_are_the_same_at_every_call() -> None:
    assert torch.equal(examples(3, GRID), examples(3, GRID))
    assert abs(float(examples(16, (64, 64)).std()) - 1) < 0.01
