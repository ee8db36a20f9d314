"""An installed package's plugin needs neither option nor variable: its entry point names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptprof import plugins
from ptprof.errors import UsageError
from ptprof.study import sha256

MODULE = """
import ptprof

@ptprof.model("strange", learning_rate=1e-3)
def strange(in_channels, out_channels, grid): ...

@ptprof.sensor
def clamp():
    return ()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages with one in it, as pip leaves it."""
    package, said = tmp_path / "strangers", tmp_path / "strangers-1.0.dist-info"
    package.mkdir()
    said.mkdir()
    (package / "__init__.py").touch()
    (package / "forecasters.py").write_text(MODULE)
    (said / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    (said / "entry_points.txt").write_text("[ptprof.plugins]\nanything = strangers.forecasters\n")
    return tmp_path


@pytest.fixture
def installed(site: Path, no_plugins: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(site)
    yield site
    for name in ("strangers", "strangers.forecasters"):
        sys.modules.pop(name, None)


def test_its_models_are_known_by_the_modules_name(installed: Path) -> None:
    model = plugins.models()["strange"]
    assert model.source.name == "strangers.forecasters"
    assert model.source.sha256 == sha256(installed / "strangers" / "forecasters.py")
    assert [one.name for one in plugins.sensors()] == ["clamp"]


def test_naming_it_too_changes_nothing(installed: Path) -> None:
    plugins.announce(["strangers.forecasters"])
    assert list(plugins.models()) == ["strange"]


def test_one_that_fails_is_named_in_one_line(installed: Path) -> None:
    (installed / "strangers" / "forecasters.py").write_text("import no_such_library\n")
    with pytest.raises(
        UsageError, match=r"the plugin strangers\.forecasters cannot be imported: Module"
    ) as e:
        plugins.models()
    assert "\n" not in str(e.value)


def test_the_command_line_finds_it_by_itself(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop(plugins.VARIABLE, None)
    command = [sys.executable, "-m", "ptprof", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["plugins"] == [
        {
            "kind": kind,
            "name": name,
            "plugin": "strangers.forecasters",
            "sha256": sha256(site / "strangers" / "forecasters.py"),
        }
        for kind, name in (("model", "strange"), ("sensor", "clamp"))
    ]
