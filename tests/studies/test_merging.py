"""Studies made into one: nothing is lost, nothing is mixed up, and the answer is that of one study."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptprof.errors import StudyError, UsageError
from ptprof.records import ArtifactRecord, ServedRecord
from ptprof.studies import check, copying, merge
from ptprof.study import Study, read_record, sha256

Run = Callable[..., tuple[int, str, str]]
Maker = Callable[[Path], Any]


def contents(study: Study) -> dict[str, bytes]:
    """Every file of a study, by its path in it."""
    files = (path for path in study.root.rglob("*") if path.is_file())
    return {path.relative_to(study.root).as_posix(): path.read_bytes() for path in files}


def part(whole: Study, folder: Path, paths: set[str]) -> Study:
    """A study with some of the files of another one."""
    folder.mkdir(parents=True)
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole.root / path, folder / path)
    return Study(folder)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deal=st.data(), count=st.integers(2, 3))
def test_any_deal_of_the_files_merges_to_all_of_them(
    whole: Study,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    deal: st.DataObject,
    count: int,
) -> None:
    """Whatever lies where, once or several times, in whatever order, and merged again."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # Thousands of files, which no power cut threatens.
    folder = tmp_path_factory.mktemp("deal")
    every = contents(whole)
    holders = st.sets(st.integers(0, count - 1), min_size=1)
    where = {path: deal.draw(holders, label=path) for path in every}
    parts = [part(whole, folder / str(n), {p for p in every if n in where[p]}) for n in range(count)]
    order = deal.draw(st.permutations(parts))
    into = Study(folder / "merged")
    report = merge(order, into)
    assert contents(into) == every
    assert report.written == len(every)
    assert (report.left_out, report.renamed) == ((), {})
    again = merge(parts, into)
    assert (again.written, again.there) == (0, sum(len(n) for n in where.values()))
    # Into one that has some of it already, and one after the other.
    merge(order[:1], Study(folder / "slowly"))
    for study in order[1:]:
        merge([study], Study(folder / "slowly"))
    assert contents(Study(folder / "slowly")) == every


def test_two_machines_give_the_answer_of_one(whole: Study, tmp_path: Path, ptprof: Run) -> None:
    """One trains and exports all and measures some; the other has a copy, and measures the rest."""
    every = set(contents(whole))
    measured = sorted(path for path in every if path.startswith("measurements"))
    one = part(whole, tmp_path / "one", every - set(measured[::2]))
    other = part(whole, tmp_path / "other", every - set(measured[1::2]))
    both = tmp_path / "both"
    status, out, err = ptprof("study", "merge", one.root, other.root, "--into", both, "-q", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["written"] == len(every)
    asked = ("amortise", "--queries", "1e3", "--queries", "1e6", "--json")
    answers = [ptprof("--study", folder, *asked)[1] for folder in (whole.root, both, one.root)]
    assert json.loads(answers[0])["cheapest"]
    assert answers[1] == answers[0]
    assert answers[2] != answers[0]
    rollout = [ptprof("--study", folder, *asked, "--tuning", "runs")[1] for folder in (whole.root, both)]
    assert rollout[0] == rollout[1]


def test_models_trained_apart_are_compared_together(whole: Study, tmp_path: Path, ptprof: Run) -> None:
    every = set(contents(whole))
    of_unet = {path for path in every if "unet" in path}
    one = part(whole, tmp_path / "one", of_unet)
    other = part(whole, tmp_path / "other", every - of_unet)
    ptprof("--study", tmp_path / "both", "study", "merge", one.root, other.root)
    answers = [
        ptprof("amortise", "--queries", "1e6", "--json", "--study", folder)[1]
        for folder in (whole.root, tmp_path / "both")
    ]
    assert answers[0] == answers[1]


def test_the_sources_and_what_else_is_there_stay_as_they_are(whole: Study, tmp_path: Path) -> None:
    other = Study(tmp_path / "other")
    (other.root / "measurements").mkdir(parents=True)
    (other.root / "report").mkdir()
    (other.root / "report" / "index.html").write_text("made from the rest")
    before = contents(whole), contents(other)
    report = merge([whole, other], Study(tmp_path / "both"))
    assert (contents(whole), contents(other)) == before
    assert contents(Study(tmp_path / "both")) == before[0]
    assert report.written == len(before[0])


def test_exports_of_one_checkpoint_are_united(tmp_path: Path, maker: Maker) -> None:
    """One machine exported ONNX and TorchScript, the other the same TorchScript and .pt2."""
    one, other = maker(tmp_path / "one"), maker(tmp_path / "other")
    for made, formats in ((one, ("onnx", "torchscript")), (other, ("torchscript", "pt2"))):
        made.export(made.train("fno", 100.0), *formats)
    both, turned = Study(tmp_path / "both"), Study(tmp_path / "turned")
    merge([one.study, other.study], both)
    merge([other.study, one.study], turned)
    record = both.artifact("fno-quick-s0")
    assert record is not None
    assert [file.name for file in record.files] == ["model.onnx", "model.pt2", "model.pt"]
    assert check(both).findings == ()
    assert contents(both) == contents(turned)


def test_of_two_files_of_one_name_the_first_stays_with_its_record(tmp_path: Path, maker: Maker) -> None:
    """Both exported the same checkpoint, and a .pt2 is of the machine that it was compiled on."""
    studies = []
    for name in ("one", "other"):
        made = maker(tmp_path / name)
        run = made.train("fno", 100.0)
        made.export(run, "pt2", bytes_of=name, created="2026-01-02" if name == "one" else "2026-01-03")
        made.measure(run, 1.0, "pt2", device_id=name)
        studies.append(made.study)
    into = Study(tmp_path / "both")
    merge(studies, into)
    assert len(into.measurements()) == 2
    assert (into.artifact_folder("fno-quick-s0") / "model.pt2").read_bytes().endswith(b"one")
    report = check(into)
    assert not report.faults
    assert [finding.what for finding in report.findings] == [
        "is of an export of fno-quick-s0 that is not here any more"
    ]


@pytest.fixture
def rivals(tmp_path: Path, maker: Maker) -> list[Study]:
    """Two machines that have trained, exported and measured the same run; each has another one too."""
    studies = []
    for name, joules, model in (("one", 100.0, "unet"), ("other", 140.0, "tfno")):
        made = maker(tmp_path / name)
        for trained in ("fno", model):
            run = made.train(trained, joules, weights=name if trained == "fno" else "")
            made.export(run, "onnx")
            made.measure(run, 1.0)
        made.burgers(joules)
        studies.append(made.study)
    return studies


def test_a_run_that_both_have_trained_is_told_before_anything_is_written(
    rivals: list[Study], tmp_path: Path, ptprof: Run
) -> None:
    one, other = (study.root for study in rivals)
    status, out, err = ptprof("study", "merge", one, other, "--into", tmp_path / "both", "-q")
    assert (status, out) == (1, "")
    assert err == (
        f"ptprof: fno-quick-s0 (and 1 more) is one thing in {one} and another in {other}:"
        " keep the first with --keep-first, or both with --rename SUFFIX\n"
    )
    assert not (tmp_path / "both").exists()


def test_the_first_of_them_is_kept_with_all_that_is_its(rivals: list[Study], tmp_path: Path) -> None:
    into = Study(tmp_path / "both")
    report = merge(rivals, into, conflicts="first")
    assert [run.run for run in into.runs()] == ["fno-quick-s0", "tfno-quick-s0", "unet-quick-s0"]
    assert into.run("fno") == rivals[0].run("fno")
    assert sorted(m.model for m in into.measurements()) == ["fno", "tfno", "unet"]
    assert report.left_out == (
        f"fno-quick-s0 of {rivals[1].root}: {rivals[0].root} has another",
        f"burgers/burgers-nn-quick-n100-s0.json of {rivals[1].root}: {rivals[0].root} has another",
    )
    assert check(into).findings == ()


def test_both_of_them_are_kept_under_two_names(rivals: list[Study], tmp_path: Path) -> None:
    into = Study(tmp_path / "both")
    report = merge(rivals, into, conflicts="rename", suffix="b")
    assert check(into).findings == ()
    renamed = into.named("fno-quick-s0-b")
    theirs = rivals[1].run("fno")
    assert renamed == theirs.model_copy(update={"run": "fno-quick-s0-b"})
    assert sorted(m.run for m in into.measurements()) == [
        "fno-quick-s0",
        "fno-quick-s0-b",
        "tfno-quick-s0",
        "unet-quick-s0",
    ]
    assert report.renamed == {
        f"{rivals[1].root}: burgers/burgers-nn-quick-n100-s0.json": "burgers/burgers-nn-quick-n100-s0-b.json",
        f"{rivals[1].root}: fno-quick-s0": "fno-quick-s0-b",
    }
    before = contents(into)
    assert merge(rivals, into, conflicts="rename", suffix="b").written == 0
    assert contents(into) == before, "merged again, they are known under their new names"


def test_what_a_renamed_run_gained_since_joins_it(rivals: list[Study], tmp_path: Path, maker: Maker) -> None:
    """The other machine goes on: it exports and measures more of its run, and is merged again."""
    into = Study(tmp_path / "both")
    merge(rivals, into, conflicts="rename", suffix="b")
    other = maker(rivals[1].root)
    run = rivals[1].run("fno")
    other.export(run, "onnx", "pt2", created="2026-02-01")
    other.measure(run, 0.5, "pt2")
    merge(rivals, into, conflicts="rename", suffix="b")
    assert sorted(run.run for run in into.runs("fno")) == ["fno-quick-s0", "fno-quick-s0-b"]
    record = into.artifact("fno-quick-s0-b")
    assert record is not None
    assert [file.name for file in record.files] == ["model.onnx", "model.pt2"]
    assert len(into.measurements(lambda m: m.run == "fno-quick-s0-b")) == 2
    assert check(into).findings == ()


def test_of_three_the_third_is_told_from_the_second(
    rivals: list[Study], tmp_path: Path, maker: Maker
) -> None:
    third = maker(tmp_path / "third")
    third.train("fno", 180.0, weights="third")
    into = Study(tmp_path / "all")
    merge([*rivals, third.study], into, conflicts="rename", suffix="b")
    assert sorted(run.run for run in into.runs("fno")) == [
        "fno-quick-s0",
        "fno-quick-s0-b",
        "fno-quick-s0-b2",
    ]
    assert check(into).findings == ()


def test_equal_weights_at_another_cost_are_two_runs_all_the_same(tmp_path: Path, maker: Maker) -> None:
    """Two machines of one kind may end with the same weights; what that cost was paid twice."""
    studies = []
    for name, joules, format in (("one", 100.0, "onnx"), ("other", 150.0, "torchscript")):
        made = maker(tmp_path / name)
        made.export(made.train("fno", joules), format)
        studies.append(made.study)
    with pytest.raises(StudyError, match="fno-quick-s0 is one thing in"):
        merge(studies, Study(tmp_path / "both"))
    into = Study(tmp_path / "both")
    merge(studies, into, conflicts="first")
    assert check(into).findings == ()
    assert contents(into) == contents(studies[0])


def test_another_data_set_is_left_out_whole_and_said(whole: Study, tmp_path: Path, maker: Maker) -> None:
    """Both machines have generated their data: files of two sets are never mixed."""
    other = maker(tmp_path / "other").study
    (other.data / "data" / "train").mkdir(parents=True)
    (other.data / "data" / "train" / "another.hdf5").write_bytes(b"another flow")
    (other.data / "stats.yaml").write_text("mean: 1\n")
    into = Study(tmp_path / "both")
    assert merge([whole, other], into).left_out == (f"data of {other.root}: {whole.root} has others",)
    assert contents(into) == contents(whole)
    assert merge([whole, other], Study(tmp_path / "bare"), data=False).left_out == ()
    assert not (tmp_path / "bare" / "data").exists()


def test_data_that_are_a_link_stay_one(tmp_path: Path, maker: Maker) -> None:
    (tmp_path / "well" / "shear_flow").mkdir(parents=True)
    (tmp_path / "well" / "shear_flow" / "stats.yaml").write_text("mean: 0\n")
    studies = []
    for name, model in (("one", "fno"), ("other", "unet")):
        made = maker(tmp_path / name)
        made.train(model, 1.0)
        (made.study.root / "data").symlink_to(tmp_path / "well")
        studies.append(made.study)
    into = Study(tmp_path / "both")
    assert merge(studies, into).left_out == ()
    assert (into.root / "data").is_symlink()
    assert (into.data / "stats.yaml").samefile(tmp_path / "well" / "shear_flow" / "stats.yaml")


def test_a_servers_later_total_holds_the_earlier_one(tmp_path: Path, maker: Maker) -> None:
    one, other = maker(tmp_path / "one"), maker(tmp_path / "other")
    one.serve(5, "2026-01-03T01")
    other.serve(9, "2026-01-03T02")
    for order in ([one.study, other.study], [other.study, one.study]):
        into = Study(tmp_path / f"from-{order[0].root.name}")
        merge(order[:1], into)
        merge(order, into)
        (path,) = (into.root / "served").iterdir()
        assert read_record(path, ServedRecord).models[0].requests == 9


def test_a_training_that_has_not_ended_is_left_out_and_said(
    whole: Study, tmp_path: Path, maker: Maker
) -> None:
    other = maker(tmp_path / "other")
    other.train("ufno", 1.0)
    folder = other.study.run_folder("ufno-quick-s0")
    (folder / "run.json").unlink()
    (folder / "resume.pt").write_bytes(b"half way")
    into = Study(tmp_path / "both")
    assert merge([whole, other.study], into).left_out == (
        f"ufno-quick-s0 of {other.study.root}: its training has not ended",
    )
    assert contents(into) == contents(whole)


def test_a_broken_source_is_refused_before_anything_is_written(whole: Study, tmp_path: Path) -> None:
    other = part(whole, tmp_path / "other", set(contents(whole)))
    broken = other.run_folder("fno-quick-s0") / "checkpoint.pt"
    broken.write_bytes(b"half of the wei")
    with pytest.raises(StudyError, match=rf"^{broken} is not the file that .* see `ptprof study check"):
        merge([whole, other], Study(tmp_path / "both"))
    assert not (tmp_path / "both").exists()
    # And so is one to merge into.
    with pytest.raises(StudyError, match=r"checkpoint\.pt is not the file"):
        merge([whole], other)


def test_what_cannot_be_merged_is_said(whole: Study, tmp_path: Path, ptprof: Run) -> None:
    with pytest.raises(StudyError, match="nowhere is not there: a study is a folder"):
        merge([whole, Study(tmp_path / "nowhere")], Study(tmp_path / "both"))
    with pytest.raises(UsageError, match="name two studies to merge, or one and another --into"):
        merge([whole], whole)
    with pytest.raises(UsageError, match="lie in each other"):
        merge([whole], Study(whole.root / "inside"))
    with pytest.raises(UsageError, match="a suffix is letters"):
        merge([whole], Study(tmp_path / "both"), conflicts="rename", suffix="../b")
    status, _, err = ptprof(
        "study", "merge", whole.root, "--into", tmp_path / "b", "--keep-first", "--rename", "b"
    )
    assert (status, err) == (
        2,
        "ptprof: --keep-first and --rename are two answers to one question: give one of them\n",
    )


def test_a_full_disk_leaves_what_was_there_and_the_merge_goes_on_later(
    whole: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = Study(tmp_path / "both")
    copied, room = shutil.copyfile, 9

    def until_full(source: Path, target: Path) -> None:
        nonlocal room
        room -= 1
        if not room:
            target.write_bytes(source.read_bytes()[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copied(source, target)

    monkeypatch.setattr(copying.shutil, "copyfile", until_full)
    with pytest.raises(
        StudyError, match=r"No space left on device; 8 of \d+ files are there, and the same command"
    ):
        merge([whole], into)
    every = contents(whole)
    there = contents(into)
    assert len(there) == 8
    assert there.items() <= every.items()
    monkeypatch.undo()
    assert merge([whole], into).there == 8
    assert contents(into) == every


def test_too_little_room_is_told_before_anything_is_written(
    whole: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(StudyError, match=r"both has room for 0\.00 GB"):
        merge([whole], Study(tmp_path / "both"))
    assert not (tmp_path / "both").exists()


def test_a_killed_merge_goes_on_and_leaves_nothing_half_written(whole: Study, tmp_path: Path) -> None:
    into = tmp_path / "both"
    script = (
        "import os, shutil, signal, sys\n"
        "from pathlib import Path\n"
        "from ptprof.studies import copying, merge\n"
        "from ptprof.study import Study\n"
        "left = 6\n"
        "def kill(source, target):\n"
        "    global left\n"
        "    left -= 1\n"
        "    target.write_bytes(source.read_bytes()[:-1 if left == 0 else None])\n"
        "    if left == 0:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "copying.shutil.copyfile = kill\n"
        "merge([Study(sys.argv[1])], Study(sys.argv[2]))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, whole.root, into], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert any(path.name.startswith(".") for path in into.rglob("*"))
    # What is there describes nothing that is not there.
    assert not [finding for finding in check(Study(into), data=False).faults if finding.kind == "broken"]
    merge([whole], Study(into))
    assert contents(Study(into)) == contents(whole)


def test_two_merges_into_one_study_do_not_meet(whole: Study, tmp_path: Path) -> None:
    with (
        copying.alone_in(tmp_path / "both"),
        pytest.raises(StudyError, match="another process merges into"),
    ):
        merge([whole], Study(tmp_path / "both"))


def test_a_united_record_is_read_as_any_other(tmp_path: Path, maker: Maker) -> None:
    """A measurement of either export finds it in the merged study."""
    one, other = maker(tmp_path / "one"), maker(tmp_path / "other")
    for made, format, runtime in ((one, "onnx", "onnxruntime"), (other, "pt2", "pt2")):
        run = made.train("fno", 100.0)
        made.export(run, format)
        made.measure(run, 1.0, runtime)
    into = Study(tmp_path / "both")
    merge([one.study, other.study], into)
    record = read_record(into.artifact_folder("fno-quick-s0") / "artifact.json", ArtifactRecord)
    listed = {file.sha256 for file in record.files}
    assert {m.artifact_sha256 for m in into.measurements()} == listed
    assert {sha256(into.artifact_folder("fno-quick-s0") / file.name) for file in record.files} == listed
