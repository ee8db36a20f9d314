"""Which files of a study are served, and which are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson
import pytest
import torch

from ptprof.amortise.volume import served_records
from ptprof.errors import PtprofError, StudyError, UsageError
from ptprof.export import deployable
from ptprof.serve import find_models
from ptprof.study import Study
from ptprof.train.checkpoint import save_weights, weights_of
from ptprof.train.models import build


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, studies) -> Study:
    """An unet trained and exported twice, and an fno that is only trained; not to be changed."""
    study = Study(tmp_path_factory.mktemp("study"))
    for seed, created in enumerate(("2026-01-01", "2026-01-02")):
        run = studies.add_run(study, "unet", created, (8, 12), str(seed) * 64)
        studies.add_artifact(study, run, studies.step(seed))
    torch.manual_seed(0)
    weights = weights_of(build("fno", "quick"))
    folder = study.run_folder("fno-quick-2026-01-03")
    folder.mkdir(parents=True)
    checkpoint = save_weights(folder / "checkpoint.pt", "fno", weights)
    studies.add_run(study, "fno", "2026-01-03", (48, 96), checkpoint)
    return study


@pytest.mark.parametrize("runtime", ["onnxruntime", "torchscript"])
@pytest.mark.parametrize("names", [None, [], ["unet"]])
def test_the_newest_run_is_served(exported: Study, studies, runtime: str, names: list[str] | None) -> None:
    served = find_models(exported, names, runtime=runtime)
    assert list(served) == ["unet"]
    model = served["unet"].open()
    assert (model.runner.runtime, model.state_shape) == (runtime, (4, 4, 8, 12))
    assert model.details["run"] == "unet-quick-2026-01-02"
    assert model.details["fields"] == "tracer, pressure, velocity_x, velocity_y"
    state = torch.randn(2, 4, 4, 8, 12)
    with model.runner as runner, torch.inference_mode():
        newest, oldest = studies.step(1)(state)[0], studies.step(0)(state)[0]
        answer = runner.step(state)[0]
    torch.testing.assert_close(answer, newest)
    assert not torch.allclose(answer, oldest)


def test_eager_serves_what_is_trained(exported: Study) -> None:
    served = find_models(exported, ["fno"], runtime="eager")
    state = torch.randn(1, 4, 4, 48, 96)
    with served["fno"].open().runner as runner, torch.inference_mode():
        expected = deployable(exported, exported.run("fno"))(state)[0]
        torch.testing.assert_close(runner.step(state)[0], expected)


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        (["fno"], StudyError, "not exported to onnx: `ptprof export fno"),
        (["tfno"], StudyError, "ptprof train tfno"),
        (["unett"], UsageError, r"unknown model 'unett' \(did you mean 'unet'\?\)"),
        (["unet", "unet"], UsageError, "a model is named twice: unet, unet"),
    ],
)
def test_models_that_cannot_be_served(
    exported: Study, names: list[str], error: type[PtprofError], words: str
) -> None:
    with pytest.raises(error, match=words):
        find_models(exported, names)[names[0]].open()


def test_a_runtime_that_is_not_known(exported: Study) -> None:
    with pytest.raises(UsageError, match="unknown runtime 'onnx'"):
        find_models(exported, runtime="onnx")


@pytest.mark.parametrize(
    ("runtime", "command"), [("onnxruntime", "ptprof export"), ("eager", "ptprof train")]
)
def test_an_empty_study(tmp_path: Path, runtime: str, command: str) -> None:
    with pytest.raises(StudyError, match=f"`{command}`, or make everything with `ptprof quickstart`"):
        find_models(Study(tmp_path), runtime=runtime)


def test_an_older_run_is_not_served_in_place_of_the_newest(tmp_path: Path, studies) -> None:
    study = Study(tmp_path)
    old = studies.add_run(study, "unet", "2026-01-01", (8, 12), "0" * 64)
    studies.add_artifact(study, old, studies.step(0))
    studies.add_run(study, "unet", "2026-01-02", (8, 12), "1" * 64)
    with pytest.raises(StudyError, match="unet-quick-2026-01-02 is not exported"):
        find_models(study)["unet"].open()


def test_a_file_that_was_changed_is_not_opened(tmp_path: Path, studies) -> None:
    study = Study(tmp_path)
    run = studies.add_run(study, "unet", "2026-01-01", (8, 12), "0" * 64)
    studies.add_artifact(study, run, studies.step(0))
    for name, runtime in (("model.onnx", "onnxruntime"), ("model.pt", "torchscript")):
        path = study.artifact_folder(run.run) / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(StudyError, match=f"{name} is not the file that artifact.json describes"):
            find_models(study, runtime=runtime)["unet"].open()


@contextmanager
def command(study: Study, *options: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """`ptprof serve` on a free port, and a client of it."""
    line = [sys.executable, "-m", "ptprof", "serve", "--study", str(study.root), "--port", "0", *options]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            url = process.stderr.readline().split(" on ")[1].split()[0]
            with httpx.Client(base_url=url, timeout=60) as client:
                yield process, client
        finally:
            process.terminate()
            process.communicate(timeout=30)


def served_by(process: subprocess.Popen[str]) -> int:
    """The process that really serves."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


REQUEST = orjson.dumps(
    {"inputs": [{"name": "state", "datatype": "FP32", "shape": [1, 4, 4, 8, 12], "data": [0.5] * 1536}]}
)


def test_the_service_goes_on_when_its_process_is_killed(exported: Study) -> None:
    """Without the model files even, until they are needed; and it stops when it is told to."""
    with command(exported, "unet") as (process, client):
        before = client.post("/v2/models/unet/infer", content=REQUEST)
        assert before.status_code == 200
        assert before.json()["parameters"]["energy_source"] == "modelled"
        first = served_by(process)
        os.kill(first, signal.SIGKILL)
        # The socket is open all the time: who asks now waits until the process is there again.
        client.close()
        after = httpx.post(client.base_url.join("/v2/models/unet/infer"), content=REQUEST, timeout=60)
        assert after.json()["outputs"] == before.json()["outputs"]
        assert served_by(process) != first
        process.terminate()
        assert process.wait(30) == 0
    (total,) = served_records(exported)[-1].models
    assert (total.run, total.requests, total.steps) == ("unet-quick-2026-01-02", 1, 1)


def test_a_file_that_is_replaced_or_deleted_while_it_is_served(tmp_path: Path, studies) -> None:
    study = Study(tmp_path)
    run = studies.add_run(study, "unet", "2026-01-01", (8, 12), "0" * 64)
    studies.add_artifact(study, run, studies.step(0))
    path = study.artifact_folder(run.run) / "model.onnx"
    with command(study) as (_, client):
        for change, words in (
            (lambda: path.write_bytes(path.read_bytes() + b"more"), "is not the file that artifact.json"),
            (path.unlink, "is not there"),
        ):
            change()
            assert client.post("/v2/models/unet/infer", content=REQUEST).status_code == 200
            refused = client.post("/v2/repository/models/unet/load")
            assert refused.status_code == 400
            assert words in refused.json()["error"]
            assert client.post("/v2/models/unet/infer", content=REQUEST).status_code == 200


def test_the_process_ends_with_who_started_it(exported: Study) -> None:
    with command(exported, "unet") as (process, client):
        child = served_by(process)
        process.kill()
        process.wait(10)
        for _ in range(200):
            if not Path(f"/proc/{child}").exists():
                break
            time.sleep(0.05)
        assert not Path(f"/proc/{child}").exists()
        with pytest.raises(httpx.ConnectError):
            client.get("/v2")


def test_what_is_wrong_with_a_study_is_one_line(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "ptprof", "serve", "--study", str(tmp_path), "--port", "0"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ptprof: {tmp_path} holds no exported models")
    assert done.stderr.count("\n") == 1
