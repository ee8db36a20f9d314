"""The command line: quick help, one-line errors, the right exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from ptprof import __version__

COMMANDS = (
    "quickstart",
    "doctor",
    "data generate",
    "data info",
    "train",
    "evaluate",
    "export",
    "profile",
    "amortise",
    "burgers",
    "serve",
    "query",
    "study merge",
    "study check",
)


def ptprof(*arguments: str, study: Path | None = None) -> subprocess.CompletedProcess[str]:
    before = [] if study is None else ["--study", str(study)]
    return subprocess.run(
        [sys.executable, "-m", "ptprof", *before, *arguments], capture_output=True, text=True, check=False
    )


def test_help_loads_neither_torch_nor_plotting() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['ptprof', '--help']\n"
        "from ptprof.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'matplotlib', 'numpy', 'h5py', 'onnxruntime', 'onnx', 'starlette', 'scipy'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command.split()[0] in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "doctor"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = ptprof(*command.split(), "--help")
    assert done.returncode == 0
    assert f"ptprof {command}" in done.stdout.partition("Example")[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "fnoo"], "did you mean 'fno'"),
        (["train", "flow-machting"], "did you mean 'flow-matching'"),
        (["export", "--nfe", "4"], "flow-matching"),
        (["train", "fno", "--recipe", "quik"], "did you mean 'quick'"),
        (["train", "fno", "--device", "cuda:7"], "cuda"),
        (["train", "fno", "--device", "cpu", "--precision", "tf32"], "--precision fp32 or bf16"),
        (["train", "fno", "--device", "cpu", "--accumulate", "9"], "--accumulate from 1 to 8"),
        (["evaluate"], "ptprof train"),
        (["export"], "ptprof train"),
        (["profile"], "ptprof train"),
        (["amortise"], "ptprof"),
        (["serve"], "ptprof export"),
        (["amortise", "fnoo"], "did you mean 'fno'"),
        (["amortise", "fno", "--table", "costs.csv"], "its own models"),
        (["amortise", "--queries", "-5"], "-5"),
        (["amortise", "--queries", "abc"], "abc"),
        (["data", "info"], "ptprof data generate"),
        (["data", "generate", "--grid", "32x64"], "48"),
        (["data", "generate", "--grid", "50x100"], "16"),
        (["data", "generate", "--grid", "big"], "64x128"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = ptprof(*arguments, study=tmp_path / "study")
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert says in done.stderr
    assert done.stdout == ""
    assert not [p for p in (tmp_path / "study").rglob("*") if p.is_file()]


def test_the_study_may_stand_before_or_after_the_command(tmp_path: Path) -> None:
    before = ptprof("export", study=tmp_path / "here")
    after = ptprof("export", "--study", str(tmp_path / "here"))
    assert before.stderr == after.stderr
    assert str(tmp_path / "here") in after.stderr


def test_a_file_is_not_a_study(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("")
    done = ptprof("export", study=tmp_path / "study")
    assert done.returncode == 2
    assert "is a file" in done.stderr


def test_amortise_answers_from_a_table_without_a_study(tmp_path: Path) -> None:
    table = resources.files("ptprof.profile.paper").joinpath("table2.csv")
    done = ptprof("amortise", "--table", str(table), "--queries", "1e6", "--json", study=tmp_path / "none")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["cheapest"][0]["model"] == "fno"
    assert len(report["break_even"]) == 21


def test_a_table_with_a_missing_column_is_named(tmp_path: Path) -> None:
    table = tmp_path / "costs.csv"
    table.write_text("model,train_co2eq_kg\nfno,0.8\n")
    done = ptprof("amortise", "--table", str(table))
    assert done.returncode == 1
    assert "inference_co2eq_g_mean" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_version_needs_no_command() -> None:
    done = ptprof("--version")
    assert (done.returncode, done.stdout) == (0, f"ptprof {__version__}\n")


def test_windows_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from ptprof.cli import main

    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="Windows Subsystem for Linux"):
        main()
