"""The command on a real local Ray: two replicas, replaced under load, stopped with a forecast in flight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import torch
import tritonclient.http as triton
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from torch import Tensor

from ptprof.amortise.volume import served_records, served_steps
from ptprof.client import Client
from ptprof.errors import ProtocolError
from ptprof.study import Study

Array = NDArray[np.float32]

#: 8 MiB of state, of which one step answers 2 MiB.
LARGE = (256, 512)
STEPS = 4
#: On a machine that is busy with other things.
PATIENCE_S = 300


@dataclass
class Server:
    """The command, where it serves, and what it said."""

    process: subprocess.Popen[bytes]
    study: Study
    log: Path
    url: str = ""
    #: Forecast steps that were answered, for the sum at the end.
    steps: int = 0
    descendants: set[int] = field(default_factory=set)

    def said(self, words: str) -> str:
        """Wait for a line with ``words``."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            for line in self.log.read_text().splitlines():
                if words in line:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        pytest.fail(f"never said {words!r}:\n{self.log.read_text()}")

    def samples(self, name: str) -> dict[str, float]:
        """The samples of a metric, by replica."""
        text = httpx.get(f"{self.url}/metrics", timeout=60).text
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    replica = sample.labels["replica"]
                    found[replica] = found.get(replica, 0) + sample.value
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, studies: SimpleNamespace) -> Iterator[Server]:
    pytest.importorskip("ray", reason="Ray is not installed")
    folder = tmp_path_factory.mktemp("ray")
    study = Study(folder / "study")
    for model, grid in (("unet", (8, 12)), ("fno", LARGE)):
        run = studies.add_run(study, model, "2026-01-01", grid, "0" * 64)
        studies.add_artifact(study, run, studies.step(0, grid))
    settings = folder / "settings.yaml"
    settings.write_text("graceful_shutdown_wait_loop_s: 0.1\n")
    line = [sys.executable, "-m", "ptprof", "serve", "--engine", "ray", "--study", str(study.root)]
    line += ["--port", "0", "--replicas", "2", "--deployment", str(settings), "--max-request", "16"]
    log = folder / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(line, stdout=out, stderr=out, start_new_session=True) as process,
    ):
        server = Server(process, study, log)
        try:
            server.url = server.said("serving on http://127.0.0.1:").split(" on ")[1].split()[0]
            server.descendants = descendants(process.pid)
            yield server
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.fixture
def state() -> Tensor:
    """``(1, h, C, X, Y)``."""
    return torch.randn(1, 4, 4, 8, 12, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def large() -> Tensor:
    return torch.randn(1, 4, 4, *LARGE, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def forecast(studies: SimpleNamespace) -> Callable[..., Array]:
    """What the run of a seed forecasts: ``(L, C, X, Y)``."""

    def forecast(seed: int, window: Tensor, steps: int = 1) -> Array:
        step = studies.step(seed, tuple(window.shape[-2:]))
        states = []
        with torch.inference_mode():
            for _ in range(steps):
                following, window = step(window)
                states.append(following[0])
        result: Array = torch.stack(states).numpy()
        return result

    return forecast


def descendants(pid: int) -> set[int]:
    """All processes below ``pid``, however deep."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(after[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    new = [pid]
    while new:
        children = parents.get(new.pop(), [])
        found.update(children)
        new += children
    return found


def gone(pid: int) -> None:
    """Wait until a process has ended."""
    until = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until, f"{pid} is left"
        time.sleep(0.1)


def given(window: Tensor) -> triton.InferInput:
    return triton.InferInput("state", list(window.shape), "FP32").set_data_from_numpy(window.numpy())


def close(answer: Array, expected: Array) -> bool:
    return np.allclose(answer, expected, rtol=1e-4, atol=1e-4)


def test_the_protocol_comes_through(server: Server, large: Tensor, forecast: Callable[..., Array]) -> None:
    """Bodies of 8 MiB, answers of 2 MiB, compression, refusals: as from the server itself."""
    with triton.InferenceServerClient(
        server.url.removeprefix("http://"), network_timeout=PATIENCE_S
    ) as client:
        assert client.is_server_ready()
        assert client.is_model_ready("fno")
        assert {entry["name"] for entry in client.get_model_repository_index()} == {"fno", "unet"}
        expected = forecast(0, large)
        outputs = [triton.InferRequestedOutput(name) for name in ("next", "state_out")]
        answer = client.infer("fno", [given(large)], request_id="7", outputs=outputs)
        assert close(answer.as_numpy("next")[0], expected[0])
        assert np.array_equal(answer.as_numpy("state_out")[:, :-1], large[:, 1:].numpy())
        assert answer.get_response()["id"] == "7"
        packed = client.infer("fno", [given(large)], request_compression_algorithm="gzip")
        assert np.array_equal(packed.as_numpy("next"), answer.as_numpy("next"))
        server.steps += 2
        for model, window, words in (
            ("unet", large, "shape"),
            ("fno", large.expand(3, *large.shape[1:]).contiguous(), "larger than this server takes"),
            ("gno", large, "unknown model"),
        ):
            with pytest.raises(triton.InferenceServerException, match=words):
                client.infer(model, [given(window)])
    refused = httpx.post(f"{server.url}/v2/repository/models/unet/unload", timeout=60)
    assert (refused.status_code, "deploy them anew" in refused.json()["error"]) == (400, True)


def test_rollouts_whole_and_streamed(
    server: Server, state: Tensor, large: Tensor, forecast: Callable[..., Array]
) -> None:
    with Client(server.url) as client:
        whole = client.rollout(state[0].numpy(), STEPS, model="unet")
        assert close(whole, forecast(0, state, STEPS))
        streamed = list(client.stream(state[0].numpy(), STEPS, model="unet"))
        assert np.array_equal(np.stack(streamed), whole)
        server.steps += 2 * STEPS
        # A stream that would pile up in the replica is refused before any work: 256 MiB are 128 states.
        with pytest.raises(ProtocolError, match="in one stream"):
            next(client.stream(large[0].numpy(), 129, model="fno"))


def test_a_client_that_leaves_a_stream_stops_the_work(server: Server, large: Tensor) -> None:
    with Client(server.url) as client:
        frames = client.stream(large[0].numpy(), 10_000, states=100, model="fno")
        assert next(frames).shape == (4, *LARGE)
        frames.close()
    while sum(server.samples("ptprof_requests_in_progress").values()):
        time.sleep(0.2)
    calls = sum(server.samples("ptprof_compute_duration_seconds_count").values())
    # All of it, at 10 ms a step at least, would take minutes more.
    assert calls < 10_000


def test_what_both_replicas_did_adds_up(server: Server, state: Tensor) -> None:
    """The joules of every answer are its replica's own, and /metrics tells those of all."""
    before = server.samples("ptprof_energy_joules_total")
    asked = sum(server.samples("ptprof_requests_total").values())
    joules: list[float] = []
    while len(joules) < 8 or len(server.samples("ptprof_steps_total")) < 2:
        with Client(server.url) as client:
            client.step(state.numpy(), model="unet")
            assert client.cost["energy_source"] == "modelled"
            joules.append(client.cost["energy_j"])
        server.steps += 1
    after = server.samples("ptprof_energy_joules_total")
    assert sum(after.values()) - sum(before.values()) == pytest.approx(sum(joules))
    assert sum(server.samples("ptprof_requests_total").values()) == asked + len(joules)
    stats = httpx.get(f"{server.url}/v2/models/unet/stats", timeout=60).json()["model_stats"][0]
    told = sum(server.samples("ptprof_requests_total").values())
    assert stats["inference_stats"]["success"]["count"] <= told
    assert stats["inference_count"] >= len(joules)


def test_new_runs_replace_the_old_ones_and_no_request_is_lost(
    server: Server, state: Tensor, studies: SimpleNamespace, forecast: Callable[..., Array]
) -> None:
    """Four clients ask all the while: only right answers, the old run's before, the new one's after."""
    old, new = (forecast(seed, state, STEPS) for seed in (0, 1))
    deployed, stop = threading.Event(), threading.Event()
    faults: list[object] = []
    counts = [[0, 0, 0] for _ in range(4)]

    def ask(number: int) -> None:
        window = state[0].numpy()
        try:
            while not stop.is_set():
                # Both kinds of connection: one that is kept, and a new one each round.
                with Client(server.url) as client:
                    for _ in range(5):
                        after = deployed.is_set()
                        if number % 2:
                            answer = client.rollout(window, STEPS, model="unet")
                        else:
                            answer = np.stack(list(client.stream(window, STEPS, model="unet")))
                        which = 0 if close(answer, old) else 1 if close(answer, new) else None
                        if which is None or (after and which == 0):
                            faults.append((after, which))
                        counts[number][2 if after else which or 0] += 1
        except Exception as error:  # noqa: BLE001 - whatever a client sees is a fault here
            faults.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while not all(seen[0] for seen in counts) and not faults:
        time.sleep(0.1)
    run = studies.add_run(server.study, "unet", "2026-01-02", (8, 12), "1" * 64)
    studies.add_artifact(server.study, run, studies.step(1))
    os.kill(server.process.pid, signal.SIGHUP)
    server.said("deployed anew")
    deployed.set()
    while not all(seen[2] for seen in counts) and not faults:
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    server.steps += STEPS * sum(sum(seen) for seen in counts)
    server.descendants |= descendants(server.process.pid)


def test_being_told_to_stop_it_answers_what_it_has_and_leaves_nothing(
    server: Server, large: Tensor, forecast: Callable[..., Array]
) -> None:
    answers: list[Array] = []

    def ask() -> None:
        with Client(server.url) as client:
            answers.append(client.rollout(large[0].numpy(), 100, states="last", model="fno"))

    thread = threading.Thread(target=ask)
    thread.start()
    while not sum(server.samples("ptprof_requests_in_progress").values()):
        time.sleep(0.02)
    server.process.terminate()
    thread.join(PATIENCE_S)
    assert server.process.wait(PATIENCE_S) == 0
    assert close(answers[0], forecast(0, large, 100)[-1:])
    for pid in server.descendants:
        gone(pid)
    assert "Traceback" not in server.log.read_text()
    # Each replica, those replaced too, has written what it served; the stream that was left is in it too.
    assert served_steps(served_records(server.study)) >= server.steps + 100
