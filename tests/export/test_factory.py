"""A user's own module is made by the user's code; its checkpoint is checked, and nothing in it is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from ptprof.errors import ExportError, PtprofError, UsageError
from ptprof.export.factory import load_module

CODE = """
import torch
from torch import nn
from neuralop.models import FNO, UNO

WIDTH = 4

def small():
    return FNO(n_modes=(4, 4), in_channels=3, out_channels=2, hidden_channels=WIDTH, n_layers=1)

def wider():
    return FNO(n_modes=(4, 4), in_channels=3, out_channels=2, hidden_channels=6, n_layers=2)

def broken():
    raise ValueError("no such width\\nand more")

def needs(width):
    return small()

def number():
    return 3

def talkative():
    return UNO(3, 2, 4, uno_out_channels=[4], uno_n_modes=[[4, 4]], uno_scalings=[[1, 1]], n_layers=1)

ready = nn.Conv2d(3, 2, 1)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A file of a user's."""
    path = tmp_path / "my_models.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def checkpoint(code: Path) -> Path:
    """What training `small` left, as neuraloperator saves it: with its constructor's arguments."""
    model = load_module(f"{code}:small")
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(0.25)
    state = model.state_dict()
    assert "_metadata" in state
    torch.save(state, code.parent / "best.pt")
    return code.parent / "best.pt"


def filled(module: nn.Module) -> bool:
    return all(bool((value == 0.25).all()) for value in module.parameters())


def test_a_file_and_a_module_name_both_make_it(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(code.parent)
    monkeypatch.delitem(__import__("sys").modules, "my_models", raising=False)
    for source in (f"{code}:small", "my_models.py:small", "my_models:small"):
        module = load_module(source)
        assert type(module).__name__ == "FNO"
        assert not module.training
    assert isinstance(load_module("my_models:ready"), nn.Conv2d)


def test_weights_are_loaded_however_they_were_saved(code: Path, checkpoint: Path) -> None:
    assert filled(load_module(f"{code}:small", checkpoint))
    state = torch.load(checkpoint, weights_only=False)
    state.pop("_metadata")
    wrapped = {f"module.{name}": value for name, value in state.items()}
    for saved in (state, {"state_dict": state, "epoch": 3}, {"model_state_dict": wrapped}, {"model": state}):
        torch.save(saved, checkpoint)
        assert filled(load_module(f"{code}:small", checkpoint))


def test_another_models_checkpoint_is_told_apart_and_nothing_is_loaded(code: Path, checkpoint: Path) -> None:
    with pytest.raises(ExportError) as refused:
        load_module(f"{code}:wider", checkpoint)
    said = str(refused.value)
    assert "another model than this FNO" in said
    assert "it lacks fno_blocks.convs.1.bias" in said
    assert "6×1×1" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{code}:smal", "did you mean 'small'"),
        ("{code}:broken", "ValueError: no such width"),
        ("{code}:needs", "TypeError"),
        ("{code}:number", "gives a int, not a torch.nn.Module"),
        ("{code}", "names no factory"),
        ("no_such_module:small", "No module named"),
        ("{code}x.py:small", "is not there"),
    ],
)
def test_what_makes_no_module_is_refused_in_one_line(code: Path, source: str, says: str) -> None:
    with pytest.raises(PtprofError, match=says) as refused:
        load_module(source.format(code=code))
    assert "\n" not in str(refused.value)


class Evil:
    """Leaves a mark where its pickle is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return Path.touch, (self.mark,)


def test_code_in_a_checkpoint_is_not_run(code: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for saved in ({"weight": Evil(mark)}, Evil(mark)):
        torch.save(saved, tmp_path / "evil.pt")
        with pytest.raises(ExportError, match="more than tensors"):
            load_module(f"{code}:small", tmp_path / "evil.pt")
    assert not mark.exists()


def test_a_cut_checkpoint_is_told_so(code: Path, checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    with pytest.raises(ExportError, match="cut"):
        load_module(f"{code}:small", checkpoint)
    checkpoint.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ExportError):
        load_module(f"{code}:small", checkpoint)
    torch.save({"epoch": 3}, checkpoint)
    with pytest.raises(ExportError, match="no weights"):
        load_module(f"{code}:small", checkpoint)
    with pytest.raises(UsageError, match="is not there"):
        load_module(f"{code}:small", checkpoint.with_name("other.pt"))


def test_nothing_is_printed(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """neuraloperator prints while it makes a UNO; `--json` has standard output to itself."""
    load_module(f"{code}:talkative")
    assert capsys.readouterr().out == ""
