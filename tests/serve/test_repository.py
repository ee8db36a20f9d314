"""Models that come and go while others are served."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
import tritonclient.http as triton
from torch import Tensor
from tritonclient.utils import InferenceServerException

from ptprof.errors import StudyError, UsageError
from ptprof.runtimes import open_runner
from ptprof.serve import ServedModel, create_app


@dataclass
class Shelf:
    """A source that counts how often it was opened and closed, and may refuse."""

    make: Callable[[], ServedModel]
    size_bytes: int = 100
    opened: int = 0
    closed: int = 0
    refuses: str | None = None
    threads: set[str] = field(default_factory=set)

    def open(self) -> ServedModel:
        if self.refuses:
            raise StudyError(self.refuses)
        self.opened += 1
        self.threads.add(threading.current_thread().name)
        return self.make()

    def close(self, model: ServedModel) -> None:
        self.closed += 1
        self.threads.add(threading.current_thread().name)
        model.runner.close()


def tensor(state: Tensor) -> triton.InferInput:
    return triton.InferInput("state", list(state.shape), "FP32").set_data_from_numpy(state.numpy())


@pytest.fixture
def shelf(small: Callable[[], ServedModel]) -> Shelf:
    return Shelf(small)


@pytest.fixture
def client(serving, shelf: Shelf, small: Callable[[], ServedModel]) -> Iterator[triton.InferenceServerClient]:
    with (
        serving({"fno": shelf, "unet": small()}) as address,
        triton.InferenceServerClient(address) as client,
    ):
        yield client


def states(client: triton.InferenceServerClient) -> dict[str, tuple[str, str]]:
    return {entry["name"]: (entry["state"], entry["reason"]) for entry in client.get_model_repository_index()}


def test_unload_and_load(client: triton.InferenceServerClient, shelf: Shelf, state: Tensor) -> None:
    before = client.infer("fno", [tensor(state)]).as_numpy("next")
    client.unload_model("fno")
    assert states(client) == {"fno": ("UNAVAILABLE", "unloaded"), "unet": ("READY", "")}
    assert (shelf.opened, shelf.closed) == (1, 1)
    # What was unloaded on purpose is not missed; it is not there, and nothing tells of it.
    assert client.is_server_ready()
    assert not client.is_model_ready("fno")
    for ask in (client.get_model_metadata, client.get_model_config):
        with pytest.raises(InferenceServerException, match=r"\[404\] model 'fno' is not loaded: POST"):
            ask("fno")
    with pytest.raises(InferenceServerException, match=r"\[404\] model 'fno' is not loaded"):
        client.infer("fno", [tensor(state)])
    assert client.infer("unet", [tensor(state)]).as_numpy("next") is not None
    client.load_model("fno")
    assert states(client)["fno"] == ("READY", "")
    assert (client.infer("fno", [tensor(state)]).as_numpy("next") == before).all()
    # The thread that opens a model is the one that closes it.
    assert shelf.threads == {"ptprof-fno"}


def test_the_index_of_what_is_ready(serving, small: Callable[[], ServedModel]) -> None:
    with (
        serving({"fno": small(), "unet": small()}) as address,
        httpx.Client(base_url=f"http://{address}/v2/repository") as client,
    ):
        assert client.post("/models/fno/unload", json={"parameters": {"unload_dependents": True}}).is_success
        assert [entry["name"] for entry in client.post("/index", json={"ready": False}).json()] == [
            "fno",
            "unet",
        ]
        assert [entry["name"] for entry in client.post("/index", json={"ready": True}).json()] == ["unet"]
        for document in ([], {"ready": "yes"}, "text"):
            assert client.post("/index", json=document).status_code == 400


def test_unloading_finishes_what_was_admitted(serving, gated, state: Tensor) -> None:
    gated.gate.clear()
    document = {
        "name": "state",
        "datatype": "FP32",
        "shape": list(state.shape),
        "data": state.flatten().tolist(),
    }
    content = orjson.dumps({"inputs": [document], "parameters": {"rollout_steps": 3}})
    with (
        serving({"slow": ServedModel.of(open_runner("eager", gated))}) as address,
        httpx.Client(base_url=f"http://{address}", timeout=30) as client,
        ThreadPoolExecutor(2) as aside,
    ):
        asked = aside.submit(client.post, "/v2/models/slow/infer", content=content)
        assert gated.begun.acquire(timeout=10)
        unloading = aside.submit(client.post, "/v2/repository/models/slow/unload")
        while client.get("/v2/models/slow/ready").status_code == 200:
            pass
        assert client.post("/v2/models/slow/infer", content=content).status_code == 404
        assert not unloading.done()
        gated.gate.set()
        assert asked.result().status_code == 200
        assert unloading.result().status_code == 200


def test_a_model_that_cannot_be_opened_again(
    client: triton.InferenceServerClient, shelf: Shelf, state: Tensor
) -> None:
    """Loaded over, the old one is served on; unloaded before, it stays away, and the index says why."""
    shelf.refuses = "model.onnx is cut: 5 of 9 bytes"
    with pytest.raises(
        InferenceServerException, match=r"\[400\] model 'fno' cannot be loaded: model.onnx is cut"
    ):
        client.load_model("fno")
    assert states(client)["fno"] == ("READY", "")
    assert client.infer("fno", [tensor(state)]).as_numpy("next") is not None
    client.unload_model("fno")
    with pytest.raises(InferenceServerException, match="is cut"):
        client.load_model("fno")
    assert states(client)["fno"] == ("UNAVAILABLE", "model.onnx is cut: 5 of 9 bytes")
    assert not client.is_server_ready()
    shelf.refuses = None
    client.load_model("fno")
    assert client.is_server_ready()


def test_a_model_is_replaced_once_the_new_one_is_open(
    client: triton.InferenceServerClient, shelf: Shelf
) -> None:
    client.load_model("fno")
    assert shelf.opened == 2
    for _ in range(200):
        if shelf.closed == 1:
            break
        client.is_server_live()
    assert shelf.closed == 1


def test_nothing_that_a_client_sends_becomes_a_model(client: triton.InferenceServerClient) -> None:
    for options in ({"config": "{}"}, {"config": "{}", "files": {"file:1/model.onnx": b"abc"}}):
        with pytest.raises(InferenceServerException, match="models come from the study alone"):
            client.load_model("fno", **options)
    for name in ("gno", "../../etc/passwd", "%2e%2e%2fetc"):
        with pytest.raises(InferenceServerException, match=r"\[404\]"):
            client.load_model(name)


def test_the_first_that_fails_is_told_before_anyone_is_served(small: Callable[[], ServedModel]) -> None:
    with pytest.raises(StudyError, match="gone"):
        create_app({"fno": Shelf(small, refuses="model.onnx is gone")})


def served(models: dict[str, Any], memory_bytes: int, requests: list[str]) -> list[int]:
    """The statuses of requests for models in turn."""
    app = create_app(models, memory_bytes=memory_bytes)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return [
                (await client.post(f"/v2/models/{name}/infer", content=b"{")).status_code for name in requests
            ]

    return asyncio.run(ask())


def test_above_the_budget_the_least_recently_used_goes_and_comes_back(
    small: Callable[[], ServedModel],
) -> None:
    a, b, c = (Shelf(small, size_bytes=100) for _ in range(3))
    assert served({"a": a, "b": b, "c": c}, 250, []) == []
    assert [shelf.opened - shelf.closed for shelf in (a, b, c)] == [0, 1, 1]
    a, b, c = (Shelf(small, size_bytes=100) for _ in range(3))
    # Each answers, though 400 means only that the request was not JSON: the model was there to refuse it.
    assert served({"a": a, "b": b, "c": c}, 250, ["c", "b", "a", "b"]) == [400] * 4
    assert [shelf.opened for shelf in (a, b, c)] == [2, 1, 1]
    assert [shelf.opened - shelf.closed for shelf in (a, b, c)] == [1, 1, 0]


def test_a_model_that_no_budget_holds(small: Callable[[], ServedModel]) -> None:
    with pytest.raises(UsageError, match="takes 3 MiB, and the memory of all models is limited to 2"):
        create_app({"fno": Shelf(small, size_bytes=3 << 20)}, memory_bytes=2 << 20)


def test_busy_models_stay_and_who_has_no_room_is_told_to_come_back(
    serving, gated, small: Callable[[], ServedModel], state: Tensor
) -> None:
    document = {
        "name": "state",
        "datatype": "FP32",
        "shape": list(state.shape),
        "data": state.flatten().tolist(),
    }
    content = orjson.dumps({"inputs": [document]})
    busy = Shelf(lambda: ServedModel.of(open_runner("eager", gated)))
    with (
        serving({"fno": Shelf(small), "busy": busy}, memory_bytes=150) as address,
        httpx.Client(base_url=f"http://{address}", timeout=30) as client,
        ThreadPoolExecutor(1) as aside,
    ):
        asked = aside.submit(client.post, "/v2/models/busy/infer", content=content)
        assert gated.begun.acquire(timeout=10)
        refused = client.post("/v2/models/fno/infer", content=content)
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert "busy" in refused.json()["error"]
        gated.gate.set()
        assert asked.result().status_code == 200
        assert client.post("/v2/models/fno/infer", content=content).status_code == 200
