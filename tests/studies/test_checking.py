"""A study that is in order, and every way in which one is not: all of it is told, each in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof.errors import StudyError
from ptprof.studies import CheckReport, check, checking
from ptprof.study import Study

Run = Callable[..., tuple[int, str, str]]


def found(report: CheckReport) -> list[tuple[str, str, str]]:
    return [(finding.kind, finding.path, finding.what) for finding in report.findings]


def change(path: Path, **fields: Any) -> None:
    """Other values in a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def study(whole: Study) -> Study:
    """A study without data, which are checked apart."""
    for path in sorted(whole.data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return whole


def test_a_study_in_order_has_nothing_to_be_told_of(study: Study, ptprof: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.root.rglob("*")}
    report = check(study)
    assert report.findings == ()
    # Six runs, artifacts, twelve measurements, a total and a point; a checkpoint and two exports of each run.
    assert (report.records, report.hashed) == (6 + 6 + 12 + 2, 6 * 3)
    assert {path: path.stat().st_mtime_ns for path in study.root.rglob("*")} == before
    status, out, err = ptprof("study", "check", study.root, "-q")
    assert (status, err) == (0, "")
    assert out == f"{study.root}: 26 records read, 18 files hashed: nothing is wrong\n"


def test_all_that_is_wrong_is_told_and_not_the_first_of_it(study: Study, ptprof: Run) -> None:
    runs, artifacts = study.root / "runs", study.root / "artifacts"
    (runs / "fno-quick-s0" / "checkpoint.pt").write_bytes(b"other weights")
    (runs / "fno-quick-s1" / "checkpoint.pt").unlink()
    (runs / "unet-quick-s0" / "run.json").write_text("{}")
    change(runs / "unet-quick-s1" / "run.json", run="unet-quick-s2")
    (runs / "tfno-quick-s0" / "run.json").unlink()
    (runs / "tfno-quick-s1" / "epochs.jsonl").write_text('{"epoch": 1}\n')
    (artifacts / "fno-quick-s0" / "model.onnx").write_bytes(b"half")
    (artifacts / "fno-quick-s1" / "model.pt").unlink()
    change(artifacts / "tfno-quick-s1" / "artifact.json", checkpoint_sha256="another")
    (study.root / "served" / "later.json").write_text("[]")
    status, out, err = ptprof("study", "check", "-q", "--study", study.root)
    lines = out.splitlines()
    assert (status, err) == (1, "")
    for expected in (
        "broken: artifacts/fno-quick-s0/model.onnx is not the file that fno-quick-s0/artifact.json describes:"
        " its SHA-256 differs",
        "missing: artifacts/fno-quick-s1/model.pt is not there, and fno-quick-s1/artifact.json lists it",
        "broken: artifacts/tfno-quick-s1/artifact.json is of another checkpoint than its run:"
        " export it again",
        "broken: runs/fno-quick-s0/checkpoint.pt is not the file that fno-quick-s0/run.json describes:"
        " its SHA-256 differs",
        "missing: runs/fno-quick-s1/checkpoint.pt is not there, and fno-quick-s1/run.json lists it",
        "missing: runs/tfno-quick-s0 is not there, and was exported",
        "missing: runs/tfno-quick-s0 is not there, and was measured",
        "missing: runs/tfno-quick-s0/run.json is not there: nothing describes this run",
        "broken: runs/tfno-quick-s1/epochs.jsonl line 1 is not a valid Epoch: Field required",
        "broken: runs/unet-quick-s0/run.json is not a valid RunRecord: run: Field required",
        "broken: runs/unet-quick-s1/run.json is of 'unet-quick-s2', under the name 'unet-quick-s1'",
    ):
        assert expected in lines
    assert (
        sum(line.startswith("broken: served/later.json is not a valid ServedRecord") for line in lines) == 1
    )
    assert len(lines) == 13
    assert lines[-1].endswith("12 things are wrong")


def test_measurements_of_what_is_not_there_any_more(study: Study) -> None:
    """A figure of an export that was made anew stands; one of a run that is not there belongs to nothing."""
    paths = sorted((study.root / "measurements").glob("fno-quick-s0*"))
    change(paths[0], artifact_sha256="of an earlier export")
    change(paths[1], run="fno-quick-s7")
    report = check(study)
    kind, path, what = found(report)[0]
    assert (kind, path) == ("note", f"measurements/{paths[0].name}")
    assert what == "is of an export of fno-quick-s0 that is not here any more"
    assert found(report)[1:] == [("missing", "runs/fno-quick-s7", "is not there, and was measured")]
    assert [finding.kind for finding in report.faults] == ["missing"]


def test_what_killed_processes_left_is_no_fault_and_is_told(study: Study, ptprof: Run) -> None:
    runs = study.root / "runs"
    (runs / "ufno-quick-s0").mkdir()
    (runs / "ufno-quick-s0" / "resume.pt").write_bytes(b"half way")
    (runs / "fno-quick-s0" / ".run.json.x1y2.json").write_text("{")
    (study.root / "artifacts" / "fno-quick-s0" / "model-old.onnx").write_bytes(b"")
    report = json.loads(ptprof("study", "check", study.root, "--json", "-q")[1])
    assert [(f["kind"], f["path"]) for f in report["findings"]] == [
        ("note", "artifacts/fno-quick-s0/model-old.onnx"),
        ("note", "runs/fno-quick-s0/.run.json.x1y2.json"),
        ("note", "runs/ufno-quick-s0"),
    ]
    assert ptprof("study", "check", study.root, "-q")[0] == 0


def test_data_are_compared_with_what_was_trained_on(whole: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "data_sha256", lambda folder, settings: "d")
    change(whole.root / "runs" / "unet-quick-s1" / "run.json", data_sha256="another")
    other = "was trained on other data than lie in this study"
    assert found(check(whole)) == [("note", "runs/unet-quick-s1/run.json", other)]
    assert check(whole, data=False).findings == ()


def test_data_that_cannot_be_read_are_a_fault(whole: Study) -> None:
    """What stands for a data set in this study is none."""
    (finding,) = check(whole).faults
    assert (finding.kind, finding.path) == ("broken", "data/shear_flow")


def test_what_is_no_study_is_said(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="nothing is not there: a study is a folder"):
        check(Study(tmp_path / "nothing"))
    assert found(check(Study(tmp_path))) == []


def test_what_cannot_be_read_is_a_fault(study: Study) -> None:
    path = study.root / "runs" / "fno-quick-s0" / "run.json"
    path.unlink()
    path.mkdir()
    told = ("broken", "runs/fno-quick-s0/run.json", "cannot be read: Is a directory")
    assert found(check(study)) == [told]
