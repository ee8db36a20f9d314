"""The study folder: nothing is lost, and what cannot be used is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ptprof.errors import StudyError
from ptprof.records import ArtifactRecord, Environment, Statistics
from ptprof.study import Study, atomic, read_record, write_record, write_text

ENVIRONMENT = Environment(platform="Linux", python="3.11", cpu="a CPU", cpu_cores=2, memory_bytes=1 << 30)


def artifact(run: str = "fno-quick-s0") -> ArtifactRecord:
    return ArtifactRecord(
        run=run,
        model="fno",
        recipe="quick",
        grid=(48, 96),
        history=4,
        statistics=Statistics(fields=("tracer",), mean=(0.0,), std=(1.0,)),
        checkpoint_sha256="ab",
        files=(),
        environment=ENVIRONMENT,
        created="2026-01-01T00:00:00+00:00",
    )


def test_a_write_that_fails_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_text(path, "before")

    def fail_half_way() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half of wh")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_writer_killed_in_the_middle_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_text(path, "before")
    script = (
        "import os, signal, pathlib, sys\n"
        "from ptprof.study import atomic\n"
        "with atomic(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half of wh')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "before"


def test_a_written_file_has_the_permissions_that_the_user_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.json", "{}")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_a_record_survives_the_disk_and_carries_its_version_first(tmp_path: Path) -> None:
    path = tmp_path / "artifact.json"
    write_record(path, artifact())
    assert read_record(path, ArtifactRecord) == artifact()
    assert next(iter(json.loads(path.read_text()))) == "schema_version"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"schema_version": 1', "EOF"),
        ('{"schema_version": 2}', "schema_version"),
        ("[]", "the document"),
    ],
)
def test_a_record_that_is_cut_or_of_another_version_is_named(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "artifact.json"
    path.write_text(text)
    with pytest.raises(StudyError, match=word) as caught:
        read_record(path, ArtifactRecord)
    assert "artifact.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_untrained_model_names_the_command_that_trains_it(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="ptprof train fno"):
        Study(tmp_path).run("fno")


def test_artifacts_are_found_by_run_and_temporary_files_are_not(tmp_path: Path) -> None:
    study = Study(tmp_path)
    write_record(study.artifact_folder("fno-quick-s0") / "artifact.json", artifact())
    (tmp_path / "measurements").mkdir()
    (tmp_path / "measurements" / ".half.json").write_text("{")
    assert study.artifact("fno-quick-s0") == artifact()
    assert study.artifact("unet-quick-s0") is None
    assert study.artifacts() == [artifact()]
    assert study.measurements() == []
