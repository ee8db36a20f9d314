"""`ptprof export` of a user's own module, to Triton, and what a file holds: by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from ptprof.cli import app
from ptprof.errors import DataError, ExportError, PtprofError, UsageError
from ptprof.records import ModuleArtifact

CODE = """
import torch
from neuralop.models import FNO

def small():
    torch.manual_seed(3)
    return FNO(n_modes=(4, 4), in_channels=3, out_channels=2, hidden_channels=4, n_layers=1)

def other():
    return FNO(n_modes=(4, 4), in_channels=3, out_channels=2, hidden_channels=8, n_layers=1)
"""

Export = Callable[..., Result]


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Call the command in a folder that holds a user's code and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    Path("my_models.py").write_text(CODE)
    from ptprof.export.factory import load_module

    torch.save(load_module("my_models.py:small").state_dict(), "best.pt")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["export", *arguments])

    return call


OWN = (
    "--model",
    "my_models.py:small",
    "--checkpoint",
    "best.pt",
    "--out",
    "out",
    "--format",
    "torchscript",
    "-q",
)


def refused(result: Result, kind: type[PtprofError], says: str) -> None:
    """The command ends with one line of ``kind``, and has printed nothing."""
    assert isinstance(result.exception, kind), result.exception
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
    assert result.stdout == ""


def test_from_code_and_a_checkpoint_to_files_and_a_repository(export: Export) -> None:
    arguments = (*OWN, "--grid", "16x20", "--channels", "3", "--triton", "repository", "--max-batch", "4")
    done = export(*arguments, "--json")
    assert done.exit_code == 0, done.exception
    record = ModuleArtifact.model_validate(json.loads(done.stdout), strict=False)
    assert record == ModuleArtifact.model_validate_json(Path("out/artifact.json").read_text())
    assert (record.model, record.takes, record.gives) == ("small", (3, 16, 20), (2, 16, 20))
    assert record.files[0].parity.synthetic
    assert record.checkpoint_sha256 is not None
    assert "max_batch_size: 4" in Path("repository/small/config.pbtxt").read_text()
    assert Path("repository/small/1/model.pt").read_bytes() == Path("out/model.pt").read_bytes()

    refused(export(*arguments), UsageError, "--force")
    again = export(*arguments, "--force")
    assert again.exit_code == 0, again.exception
    assert "drawn at random" in again.stdout
    assert "repository/small" in again.stdout

    shown = export("--show", "out/model.pt", "--json")
    found = json.loads(shown.stdout)
    assert found["metadata"]["checkpoint_sha256"] == record.checkpoint_sha256
    assert found["inputs"] == {"input": [3, 16, 20]}
    assert found["operations"]["bmm"] > 0
    table = export("--show", "out/model.pt")
    assert "input (B, 3, 16, 20)" in table.stdout
    assert "FLOP, transforms included" in table.stdout


def test_on_samples_of_ones_own(export: Export) -> None:
    np.save("samples.npy", np.random.default_rng(0).normal(size=(3, 3, 12, 15)))
    done = export(*OWN, "--inputs", "samples.npy", "--json")
    assert done.exit_code == 0, done.exception
    record = json.loads(done.stdout)
    assert record["takes"] == [3, 12, 15]
    parity = record["files"][0]["parity"]
    assert (parity["windows"], parity["synthetic"]) == (3, False)


def test_a_checkpoint_of_another_model_writes_nothing(export: Export) -> None:
    other = ("--model", "my_models.py:other", *OWN[2:], "--grid", "16x20", "--channels", "3")
    refused(export(*other), ExportError, "best.pt is of another model than this FNO")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (None, "is not there"),
        (b"\x93NUMPY", "is cut or no .npy file"),
        (np.zeros(5), "does not hold samples"),
        (np.full((1, 3, 4, 4), np.nan), "not finite"),
        (np.array([["a", "b"]]), "does not hold samples"),
    ],
)
def test_samples_that_are_none_are_refused(export: Export, samples: object, says: str) -> None:
    if isinstance(samples, bytes):
        Path("samples.npy").write_bytes(samples)
    elif samples is not None:
        np.save("samples.npy", samples)
    refused(export(*OWN, "--inputs", "samples.npy"), DataError, says)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (OWN, "--grid and --channels, or --inputs"),
        ((*OWN, "--grid", "16x20"), "--grid and --channels, or --inputs"),
        ((*OWN, "--grid", "16", "--channels", "3"), "is written 64x128"),
        ((*OWN, "--grid", "0x8", "--channels", "3"), "is written 64x128"),
        ((*OWN, "--inputs", "a.npy", "--channels", "3"), "leave out"),
        (("--model", "my_models.py:small", "--grid", "8x8", "--channels", "3"), "--out"),
        (
            ("--model", "my_models.py:smal", *OWN[2:], "--grid", "8x8", "--channels", "3"),
            "did you mean 'small'",
        ),
        (("--checkpoint", "best.pt"), "belong to --model"),
        (("fno", "--model", "my_models.py:small"), "--model takes no MODEL"),
        (("--show", "out/model.pt", "--triton", "repository"), "nothing beside --json"),
        ((*OWN[:-2], "pt2", "--triton", "repository"), "unknown format for Triton 'pt2'"),
        ((*OWN[:-2], "onxx", "--grid", "8x8", "--channels", "3"), "did you mean 'onnx'"),
    ],
)
def test_what_does_not_go_together_is_refused(export: Export, arguments: tuple[str, ...], says: str) -> None:
    refused(export(*arguments), UsageError, says)
    assert not Path("out").exists()


def test_a_file_that_is_not_there_is_refused(export: Export) -> None:
    refused(export("--show", "nothing.onnx"), ExportError, "is not there")
