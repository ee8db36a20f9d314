"""Plugins are found where they are named, loaded once, and refused in one line that names them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptprof import plugins
from ptprof.errors import UsageError
from ptprof.study import sha256

Written = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("no_plugins")

MODEL = """
@ptprof.model({name!r}, learning_rate={rate})
def make(in_channels, out_channels, grid):
    return ("made", in_channels, out_channels, grid)
"""
ALL = (
    MODEL.format(name="vit", rate=2e-3)
    + """
@ptprof.runtime("ours", reads="onnx")
class Ours: ...

@ptprof.runtime("module", reads=None)
class Module: ...

@ptprof.sensor
def clamp():
    return ("a sensor",)
"""
)


def test_what_a_file_registers(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(ALL)
    monkeypatch.setenv(plugins.VARIABLE, str(path))
    (vit,) = plugins.models().values()
    assert (vit.name, vit.learning_rate, vit.make(16, 4, (48, 96))) == (
        "vit",
        2e-3,
        ("made", 16, 4, (48, 96)),
    )
    assert (vit.source.name, vit.source.sha256) == ("mine.py", sha256(path))
    ours, module = plugins.runtimes().values()
    assert (ours.name, ours.reads, ours.make.runtime, ours.make.reads) == ("ours", "onnx", "ours", "onnx")
    assert (module.name, module.reads) == ("module", None)
    (clamp,) = plugins.sensors()
    assert (clamp.name, clamp.make()) == ("clamp", ("a sensor",))
    assert [(one.kind, one.name) for one in plugins.registered()] == [
        ("model", "vit"),
        ("runtime", "ours"),
        ("runtime", "module"),
        ("sensor", "clamp"),
    ]


def test_a_plugin_is_loaded_once_and_only_where_one_is_asked_for(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(
        f"with open({str(tmp_path / 'loads')!r}, 'a') as file:\n    file.write('x')\n"
        + MODEL.format(name="vit", rate=1)
    )
    plugins.announce([str(path)])
    assert not (tmp_path / "loads").exists()
    for _ in range(2):
        assert set(plugins.models()) == {"vit"}
        assert plugins.runtimes() == {}
    assert (tmp_path / "loads").read_text() == "x"


def test_plugins_are_announced_by_absolute_path_once_each(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = written("", "one.py"), written("", "other.py")
    monkeypatch.chdir(one.parent)
    monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join(["one.py", "json.tool"]))
    plugins.announce(["other.py", str(one)])
    assert os.environ[plugins.VARIABLE].split(os.pathsep) == [str(one), "json.tool", str(other)]


def test_files_of_one_name_and_of_a_librarys_name_do_not_clash(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataclass = "import dataclasses\n@dataclasses.dataclass\nclass C:\n    x: 'int' = 0\n"
    paths = [written(dataclass + MODEL.format(name=name, rate=1), f"{name}/json.py") for name in ("a", "b")]
    plugins.announce([str(path) for path in paths])
    assert list(plugins.models()) == ["a", "b"]
    import json

    assert json.loads("[1]") == [1]


def test_a_plugin_finds_its_neighbours(written: Written) -> None:
    (written("").parent / "neighbour_of_a_plugin.py").write_text("RATE = 3.0\n")
    path = written("from neighbour_of_a_plugin import RATE\n" + MODEL.format(name="vit", rate="RATE"))
    plugins.announce([str(path)])
    assert plugins.models()["vit"].learning_rate == 3.0


def test_a_plugin_may_ask_for_the_others_while_it_is_loaded(written: Written) -> None:
    plugins.announce([str(written(MODEL.format(name="vit", rate=1), "a.py"))])
    plugins.announce(
        [str(written("from ptprof import plugins\nassert set(plugins.models()) == {'vit'}\n", "b.py"))]
    )
    assert set(plugins.models()) == {"vit"}


def test_what_a_plugin_prints_does_not_reach_stdout(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins.announce([str(written("print('hello')\n"))])
    plugins.models()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("1 / 0\n", r"^the plugin \S*/mine\.py cannot be imported: ZeroDivisionError: division by zero$"),
        ("def f(:\n", r"mine.py.* SyntaxError"),
        ("import no_such_library\n", r"mine.py.* No module named 'no_such_library'"),
        (MODEL.format(name="ViT", rate=1), r"mine.py: a model cannot be called 'ViT': take lower-case"),
        (MODEL.format(name="vit-", rate=1), r"cannot be called 'vit-'"),
        (MODEL.format(name="../vit", rate=1), r"cannot be called '../vit'"),
        (MODEL.format(name="vit", rate=0), r"mine.py: the learning rate of vit must be positive, and is 0"),
        (MODEL.format(name="vit", rate="float('nan')"), r"must be positive"),
        ("@ptprof.runtime('ours', reads='onxx')\nclass C: ...\n", r"unknown format 'onxx'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line_each_time(written: Written, body: str, says: str) -> None:
    plugins.announce([str(written(body))])
    for _ in range(2):
        with pytest.raises(UsageError, match=says) as refused:
            plugins.models()
        assert "\n" not in str(refused.value)


def test_a_plugin_that_is_mended_is_loaded(written: Written) -> None:
    plugins.announce([str(written("1 / 0\n"))])
    with pytest.raises(UsageError):
        plugins.models()
    written(MODEL.format(name="vit", rate=1) + "# mended\n")
    assert set(plugins.models()) == {"vit"}


@pytest.mark.parametrize("kind", ["model", "runtime", "sensor"])
def test_two_plugins_of_one_name_are_refused(written: Written, kind: str) -> None:
    body = {
        "model": MODEL.format(name="twice", rate=1),
        "runtime": "@ptprof.runtime('twice', reads=None)\nclass C: ...\n",
        "sensor": "@ptprof.sensor\ndef twice(): ...\n",
    }[kind]
    plugins.announce([str(written(body, "one.py")), str(written(body, "other.py"))])
    with pytest.raises(UsageError, match=f"two plugins register a {kind} 'twice': one.py and other.py"):
        plugins.sensors()


def test_a_name_of_ptprofs_own_is_refused(written: Written) -> None:
    plugins.announce([str(written(MODEL.format(name="fno", rate=1)))])
    with pytest.raises(UsageError, match=r"mine\.py registers a model 'fno', which is ptprof's own"):
        plugins.models(taken=("unet", "fno"))


def test_a_file_that_is_not_there_is_refused_before_anything_is_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not_there\.py is not there"):
        plugins.announce([str(tmp_path / "not_there.py")])
    assert plugins.VARIABLE not in os.environ


def test_a_path_that_cannot_stand_among_others_is_refused(written: Written) -> None:
    path = written("", f"a{os.pathsep}b/mine.py")
    with pytest.raises(UsageError, match="its path holds ':'"):
        plugins.announce([str(path)])


def test_code_that_is_in_no_file_is_refused() -> None:
    names: dict[str, object] = {"__name__": "nowhere"}
    with pytest.raises(UsageError, match="make is written in no file"):
        exec("import ptprof\n" + MODEL.format(name="vit", rate=1), names)


def test_the_command_line_names_plugins_to_its_children(written: Written, tmp_path: Path) -> None:
    one, other = written("", "one.py"), written("", "other.py")
    code = (
        "import os, subprocess, sys\n"
        "from ptprof import cli\n"
        "cli.app.command('show')(lambda: subprocess.run([sys.executable, '-c',"
        " 'import os; print(os.environ[\"PTPROF_PLUGINS\"])'], check=True))\n"
        "sys.argv = ['ptprof', '--plugin', 'one.py', '--plugin', 'other.py', 'show']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [f"{one}{os.pathsep}{other}"]


def test_the_command_line_refuses_a_plugin_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ptprof", "--plugin", "no.py", "data", "info", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ptprof: the plugin no.py is not there\n"


def test_registering_needs_nothing_heavy(written: Written) -> None:
    path = written(ALL)
    code = (
        "import sys\n"
        "from ptprof import plugins\n"
        f"plugins.announce([{str(path)!r}])\n"
        "assert set(plugins.models()) == {'vit'}\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'lightning_fabric', 'starlette'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
