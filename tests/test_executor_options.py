"""What ``--executor`` and ``--address`` come to, and where they are refused."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ptprof import workflows
from ptprof.cli import app
from ptprof.errors import UsageError
from ptprof.study import Study
from ptprof.workflows import clusters


@pytest.mark.parametrize("command", ["profile", "train"])
def test_a_command_hands_on_where_it_is_carried_out(command, monkeypatch):
    reached = []
    monkeypatch.setattr(workflows, command, lambda study, models, **settings: reached.append(settings) or [])
    for options in ([], ["--executor", "ray", "--address", "10.0.0.1:6379"]):
        result = CliRunner().invoke(app, [command, "-q", "--json", *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert [(one["executor"], one["address"]) for one in reached] == [
        ("local", None),
        ("ray", "10.0.0.1:6379"),
    ]


def test_an_estimate_is_made_here():
    with pytest.raises(UsageError, match="neither with --estimate nor with torchrun"):
        CliRunner().invoke(app, ["train", "fno", "--estimate", "--executor", "ray"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("name", "address", "device", "said"),
    [
        ("local", "auto", "cpu", "--address goes with --executor ray"),
        ("ray", None, "cuda:1", "auto, cpu or cuda, not 'cuda:1'"),
    ],
)
def test_what_a_cluster_cannot_be_asked_for(name, address, device, said, tmp_path):
    where = clusters.executor(name, Study(tmp_path / "study"), address=address, device=device)
    with pytest.raises(UsageError, match=said), where:
        pass
    assert not (tmp_path / "study").exists()
