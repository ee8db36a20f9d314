"""What others write: torch's own transformer layers, and a batch whose size was taken for a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptprof.errors import ExportError
from ptprof.export import export_module
from ptprof.export.own import examples
from ptprof.export.step import DeployableMap
from ptprof.export.torchscript import write_torchscript
from ptprof.runtimes import open_runner
from ptprof.runtimes.metadata import Metadata, Signature

GRID = (4, 6)


class Attending(nn.Module):
    """Every point attends to all others, by torch's encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, 16, 1)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        given: Tensor = self.layer(self.embed(x).flatten(2).transpose(1, 2)).transpose(1, 2)
        return given.unflatten(2, GRID)


class Fixed(nn.Module):
    """One whose size of a batch becomes a number in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.ones(1, *GRID))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.place.expand(len(x), -1, -1, -1)), dim=1)


def test_transformer_layers_are_recorded_in_either_precision(tmp_path: Path) -> None:
    module = Attending().eval().requires_grad_(False)
    inputs = examples(3, GRID)
    fused = torch.backends.mha.get_fastpath_enabled()
    record = export_module(module, inputs, tmp_path / "exact")
    assert [file.format for file in record.files] == ["onnx", "torchscript"]
    signature = Signature(input="input", takes=(3, *GRID), output="output", gives=(16, *GRID))
    said = Metadata(
        model="attending",
        run="attending",
        signature=signature,
        fields=("output",),
        units={},
        precision="bf16",
        versions={},
    )
    path = tmp_path / "rounded.pt"
    write_torchscript(DeployableMap(module, signature, "bf16").eval(), said, path)
    with open_runner("torchscript", path, precision="bf16") as runner:
        rounded, _ = runner.step(inputs)
    exact = module(inputs)
    error = float((rounded - exact).norm() / exact.norm())
    assert 1e-5 < error < 2e-2
    assert torch.backends.mha.get_fastpath_enabled() == fused


@pytest.mark.parametrize(
    ("format", "says"),
    [("onnx", r"take x\.shape\[0\], not len\(x\)"), ("torchscript", "the file fails on other windows")],
)
def test_a_batch_that_became_a_number_is_told_in_one_line(tmp_path: Path, format: str, says: str) -> None:
    inputs = torch.randn(3, 2, *GRID)
    with pytest.raises(ExportError, match=says) as refused:
        export_module(Fixed(), inputs, tmp_path, [format])
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("model*"))
