"""One forecast at a time per model, a bounded line before it, and nobody else kept waiting."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

import httpx
import numpy as np
import orjson
import pytest
import torch
from starlette.requests import ClientDisconnect
from starlette.types import Message
from torch import Tensor

from ptprof.errors import ProtocolError
from ptprof.runtimes import Runner, open_runner
from ptprof.serve import Limits, ServedModel
from ptprof.serve.worker import Worker


def body(state: Tensor) -> bytes:
    given = {
        "name": "state",
        "datatype": "FP32",
        "shape": list(state.shape),
        "data": state.flatten().tolist(),
    }
    return orjson.dumps({"inputs": [given]})


def test_health_and_other_models_answer_while_one_computes(
    serving, gated, small: Callable[[], ServedModel], runner: Runner, state: Tensor
) -> None:
    models = {"slow": ServedModel.of(open_runner("eager", gated)), "fno": small()}
    with serving(models) as address, httpx.Client(base_url=f"http://{address}") as client:
        with ThreadPoolExecutor(1) as aside:
            slow = aside.submit(client.post, "/v2/models/slow/infer", content=body(state), timeout=30)
            assert gated.begun.acquire(timeout=10)
            assert client.get("/v2/health/ready").status_code == 200
            assert client.get("/v2/models/slow/ready").status_code == 200
            assert client.post("/v2/models/fno/infer", content=body(state)).status_code == 200
            assert not slow.done()
            gated.gate.set()
            data = slow.result().json()["outputs"][0]["data"]
        np.testing.assert_array_equal(np.float32(data), runner.step(state)[0].flatten().numpy())


def test_a_full_line_is_503_and_empties_again(serving, gated, state: Tensor) -> None:
    models = {"slow": ServedModel.of(open_runner("eager", gated))}
    with (
        serving(models, Limits(max_queue=2)) as address,
        httpx.Client(base_url=f"http://{address}", timeout=30) as client,
    ):
        url = "/v2/models/slow/infer"
        with ThreadPoolExecutor(6) as aside:
            asked = [aside.submit(client.post, url, content=body(state)) for _ in range(6)]
            # One runs and two wait, whichever came first; the others hear of it at once.
            turned_away, waiting = _first(asked, 3)
            for refusal in turned_away:
                assert refusal.result().status_code == 503
                assert (
                    refusal.result().json()["error"] == "3 requests for 'slow' wait already: try again later"
                )
                assert int(refusal.result().headers["retry-after"]) >= 1
            gated.gate.set()
            assert [request.result().status_code for request in waiting] == [200, 200, 200]
        assert client.post(url, content=body(state)).status_code == 200


Responses = list["Future[httpx.Response]"]


def _first(asked: Responses, count: int) -> tuple[Responses, Responses]:
    """The ``count`` that are answered first, and the others."""
    done = list(itertools.islice(as_completed(asked, timeout=20), count))
    return done, [request for request in asked if request not in done]


class Client:
    """The server's side of a client whose body has come, and who may leave."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()

    async def receive(self) -> Message:
        await self.leave.wait()
        return {"type": "http.disconnect"}


def test_work_of_a_client_who_left_the_line_is_not_done() -> None:
    gate, begun, done = threading.Event(), threading.Event(), []

    def first() -> str:
        begun.set()
        gate.wait(10)
        return "first"

    async def scene() -> None:
        worker = Worker("fno", max_queue=3)
        staying, leaving = Client(), Client()
        running = asyncio.create_task(worker.run(first, staying.receive))
        await asyncio.to_thread(begun.wait, 10)
        left = asyncio.create_task(worker.run(lambda: done.append("left"), leaving.receive))
        last = asyncio.create_task(worker.run(lambda: done.append("last"), staying.receive))
        await asyncio.sleep(0)
        leaving.leave.set()
        # It need not wait for the one before it to learn that.
        with pytest.raises(ClientDisconnect):
            await left
        assert not running.done()
        gate.set()
        assert await running == "first"
        await last
        worker.close()

    asyncio.run(scene())
    assert done == ["last"]


def test_work_that_has_begun_keeps_its_place_though_its_client_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate, begun = threading.Event(), threading.Event()

    def failing() -> None:
        begun.set()
        gate.wait(10)
        raise ValueError("the weights are gone")

    async def scene() -> None:
        worker = Worker("fno", max_queue=1)
        client = Client()

        async def request() -> None:
            with worker.place():
                await worker.run(failing, client.receive)

        running = asyncio.create_task(request())
        await asyncio.to_thread(begun.wait, 10)
        client.leave.set()
        await asyncio.sleep(0.05)
        with worker.place(), pytest.raises(ProtocolError) as refusal, worker.place():
            pass
        assert refusal.value.status == 503
        gate.set()
        # Its failure is still told to the log.
        with pytest.raises(ProtocolError, match="the forecast failed"):
            await running
        with worker.place(), worker.place():
            worker.close()
        with pytest.raises(ProtocolError, match="stopping"), worker.place():
            pass

    logger = logging.getLogger("ptprof.serve")
    logger.addHandler(caplog.handler)
    asyncio.run(scene())
    logger.removeHandler(caplog.handler)
    assert "the weights are gone" in caplog.text


def test_memory_that_runs_out_is_503_with_advice(serving, state: Tensor) -> None:
    class Hungry(torch.nn.Module):
        state_shape = tuple(state.shape[1:])

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with (
        serving({"fno": ServedModel.of(open_runner("eager", Hungry()))}) as address,
        httpx.Client(base_url=f"http://{address}") as client,
    ):
        response = client.post("/v2/models/fno/infer", content=body(state))
        assert response.status_code == 503
        assert response.json()["error"] == "out of memory on cpu: send a smaller batch or a shorter rollout"
