"""The TorchScript file: frozen, any batch, its metadata inside."""

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import ptprof
from ptprof.errors import ExportError
from ptprof.export import DeployableStep
from ptprof.export.torchscript import write_torchscript
from ptprof.runtimes.torchscript import without_deprecation
from ptprof.train.recipe import DEPLOYABLE


def load(path):
    with without_deprecation():
        return torch.jit.load(path)


@pytest.mark.parametrize("name", DEPLOYABLE)
def test_a_file_is_frozen_and_real(name, exported):
    module = load(exported(name).folder / "model.pt")
    assert not list(module.parameters())
    assert not list(module.buffers())
    graph = str(module.graph)
    assert "ComplexFloat" not in graph
    assert "fft" not in graph
    # Folded into the convolution before it.
    assert "batch_norm" not in graph


@pytest.mark.parametrize("name", DEPLOYABLE)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_of_another_size_than_was_traced(name, batch, exported, states):
    model = exported(name)
    inputs = model.inputs(states(batch, seed=batch))
    with torch.inference_mode():
        expected = model.step(*inputs)
        given = load(model.folder / "model.pt")(*inputs)
    for value, reference in zip(given, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-4, atol=2e-5)


def test_metadata_come_back_as_they_were_written(exported):
    model = exported("fno")
    with model.open("torchscript") as runner:
        assert runner.metadata == model.metadata
        assert runner.state_shape == (4, 4, 48, 96)


def test_a_file_holds_no_path_of_the_machine_that_wrote_it(exported):
    with zipfile.ZipFile(exported("unet").folder / "model.pt") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for folder in (Path(ptprof.__file__).parent, Path(torch.__file__).parent, Path.home()):
        assert str(folder).encode() not in content


class Contrary(nn.Module):
    def forward(self, x):
        raise RuntimeError("no\nand here is why")


def test_a_step_that_cannot_be_traced_is_one_line(tmp_path, metadata, statistics):
    step = DeployableStep(Contrary(), statistics, 4, metadata.grid)
    with pytest.raises(ExportError, match=r"cannot be traced: no$"):
        write_torchscript(step, metadata, tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())
