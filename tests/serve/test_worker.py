"""One forecast at a time per model, a bounded line before it, and nobody else kept waiting."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import torch
from starlette.requests import ClientDisconnect
from starlette.types import Message
from torch import Tensor

from ptprof.energy import CpuModel
from ptprof.errors import ProtocolError
from ptprof.runtimes import Runner, open_runner
from ptprof.serve import Batching, Limits, ServedModel
from ptprof.serve.forecast import Task
from ptprof.serve.ledger import Ledger
from ptprof.serve.query import Output, Query
from ptprof.serve.worker import Call, Worker


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
            asked = [aside.submit(client.post, url, content=body(state))]
            # It runs alone: those that came with it would run with it.
            assert gated.begun.acquire(timeout=20)
            asked += [aside.submit(client.post, url, content=body(state)) for _ in range(5)]
            # Two of them wait, whichever came first; the others hear of it at once.
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


def query(state: Tensor, steps: int | None = None, **changes: Any) -> Query:
    fields: dict[str, Any] = {
        "id": None,
        "state": state.numpy(),
        "noise": None,
        "seed": 0,
        "rollout_steps": steps,
        "keep_every": 1,
        "stream": False,
        "timeout_us": None,
        "outputs": (Output("next" if steps is None else "states", True),),
    }
    return Query(**fields | changes)


@contextmanager
def worker(module: torch.nn.Module, **options: Any) -> Iterator[Worker]:
    """A worker of a step, and of nothing but the one request at a time unless said."""
    calls = options.pop("calls", [])
    settings = {"batching": Batching(), "max_queue": 8, "ledger": Ledger()} | options
    made = Worker("fno", ServedModel.of(open_runner("eager", module)), called=calls.append, **settings)
    made.opened.result(20)
    try:
        yield made
    finally:
        made.close(drop=True)
        made.join()


def test_work_of_a_client_who_left_the_line_is_not_done(gated, state: Tensor) -> None:
    calls: list[Call] = []

    async def scene(line: Worker) -> None:
        staying, leaving = Client(), Client()
        running = asyncio.create_task(line.run(Task(query(state)), staying.receive))
        await asyncio.to_thread(gated.begun.acquire, timeout=10)
        left = asyncio.create_task(line.run(Task(query(state[:1])), leaving.receive))
        last = asyncio.create_task(line.run(Task(query(state)), staying.receive))
        await asyncio.sleep(0)
        leaving.leave.set()
        # It need not wait for the one before it to learn that.
        with pytest.raises(ClientDisconnect):
            await left
        assert not running.done()
        gated.gate.set()
        await running
        await last

    with worker(gated, calls=calls) as line:
        asyncio.run(scene(line))
    assert [call.states for call in calls] == [2, 2]


def test_a_client_who_leaves_stops_a_rollout(gated, state: Tensor) -> None:
    """After the step that runs, and none of the thousand that would follow."""

    async def scene(line: Worker) -> None:
        client = Client()
        running = asyncio.create_task(line.run(Task(query(state, 1000)), client.receive))
        await asyncio.to_thread(gated.begun.acquire, timeout=10)
        client.leave.set()
        await asyncio.sleep(0.05)
        gated.gate.set()
        with pytest.raises(ClientDisconnect):
            await running

    with worker(gated) as line:
        asyncio.run(scene(line))
    assert gated.calls == 1


def test_work_that_has_begun_keeps_its_place_though_its_client_left(
    state: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    gate, begun = threading.Event(), threading.Event()

    class Failing(torch.nn.Module):
        state_shape = tuple(state.shape[1:])

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            begun.set()
            gate.wait(10)
            raise ValueError("the weights are gone")

    async def scene(line: Worker) -> None:
        client = Client()

        async def request() -> None:
            with line.place():
                await line.run(Task(query(state)), client.receive)

        running = asyncio.create_task(request())
        await asyncio.to_thread(begun.wait, 10)
        client.leave.set()
        await asyncio.sleep(0.05)
        with line.place(), pytest.raises(ProtocolError) as refusal, line.place():
            pass
        assert refusal.value.status == 503
        gate.set()
        # Its failure is still told to the log.
        with pytest.raises(ProtocolError, match="the forecast failed"):
            await running
        with line.place(), line.place():
            line.close(drop=True)
        with pytest.raises(ProtocolError, match="being unloaded, or the server stops"), line.place():
            pass

    logger = logging.getLogger("ptprof.serve")
    logger.addHandler(caplog.handler)
    with worker(Failing(), max_queue=1) as line:
        asyncio.run(scene(line))
    logger.removeHandler(caplog.handler)
    assert "the weights are gone" in caplog.text


def together(line: Worker, tasks: Sequence[Task]) -> None:
    """Submit all of ``tasks``, and wait for them."""
    for answer in [line.submit(task) for task in tasks]:
        answer.result(20)


def full_at(states: int) -> Batching:
    """Waits until there are so many states."""
    return Batching(max_batch_size=states, max_queue_delay_microseconds=20_000_000)


def test_requests_that_wait_are_computed_together_and_are_each_their_own(
    small_step, runner: Runner, state: Tensor
) -> None:
    """One step and rollouts of several lengths: each step of all that are not finished is one call."""
    calls: list[Call] = []
    alone, short, long = Task(query(state)), Task(query(state[:1], 2)), Task(query(state[1:], 4))
    with worker(small_step(), calls=calls, batching=full_at(4)) as line:
        together(line, [alone, short, long])
    assert [(call.states, call.requests) for call in calls] == [(4, 3), (2, 2), (1, 1), (1, 1)]
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(alone.ready["next"], runner.step(state)[0].numpy(), **close)
    np.testing.assert_allclose(short.ready["states"], runner.rollout(state[:1], 2).numpy(), **close)
    np.testing.assert_allclose(long.ready["states"], runner.rollout(state[1:], 4).numpy(), **close)


def test_a_batch_that_memory_has_no_room_for_is_done_one_by_one(
    small_step, runner: Runner, state: Tensor
) -> None:
    class OneByOne(small_step):
        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            if len(state) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(state)

    tasks = [Task(query(state[i : i + 1])) for i in (0, 1)]
    with worker(OneByOne(), batching=full_at(2)) as line:
        together(line, tasks)
    for i, task in enumerate(tasks):
        np.testing.assert_array_equal(task.ready["next"], runner.step(state[i : i + 1])[0].numpy())


def test_a_rollout_is_given_up_when_its_time_is_over(small_step, state: Tensor) -> None:
    class Slow(small_step):
        steps = 0

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            self.steps += 1
            threading.Event().wait(0.01)
            return super().forward(state)

    module = Slow()
    with worker(module) as line:
        answer = line.submit(Task(query(state, 10_000), deadline_s=time.monotonic() + 0.2))
        with pytest.raises(ProtocolError, match="timeout is over") as refusal:
            answer.result(20)
    assert refusal.value.status == 503
    assert module.steps < 100


def test_energy_is_shared_by_the_states_of_a_batch(small_step, state: Tensor) -> None:
    clock, joules = iter(range(100)), iter(float(10 * i) for i in range(100))
    sensor = CpuModel(6.0, seconds=lambda: next(joules) / 6.0)
    ledger = Ledger([sensor], clock=lambda: float(next(clock)))
    tasks = [Task(query(state)), Task(query(state[:1]))]
    with worker(small_step(), ledger=ledger, batching=full_at(3)) as line:
        together(line, tasks)
    # Ten joules passed between the beginning and the end of the one call, for three states.
    assert [task.spent.joules[0] for task in tasks] == [pytest.approx(20 / 3), pytest.approx(10 / 3)]


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
