"""Answering an inference request: whole, or a rollout step by step."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from ptprof.errors import ProtocolError
from ptprof.serve.body import header_length, read_body
from ptprof.serve.forecast import Task
from ptprof.serve.limits import Limits
from ptprof.serve.model import ServedModel, check_version
from ptprof.serve.query import parse
from ptprof.serve.repository import Repository
from ptprof.serve.response import Sender, coding_wanted, encode, send_whole
from ptprof.serve.telemetry import Telemetry
from ptprof.serve.worker import Worker

STREAM_TYPE = "application/vnd.ptprof.stream"
# What nginx calls a request whose client has gone; nobody is sent it.
CLIENT_GONE = 499


@dataclass(frozen=True)
class _Answer:
    """What an answer is made from, and where it goes."""

    name: str
    worker: Worker
    model: ServedModel
    task: Task
    receive: Receive
    sender: Sender


class Inference:
    """``POST /v2/models/{name}/infer``, an ASGI app: its answers do not fit in one piece of memory."""

    def __init__(self, repository: Repository, telemetry: Telemetry, limits: Limits) -> None:
        self._repository = repository
        self._telemetry = telemetry
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived_ns, arrived_s = time.perf_counter_ns(), time.monotonic()
        request = Request(scope, receive)
        name = request.path_params["name"]
        worker = await self._worker(name, request)
        model = worker.opened.result()
        try:
            with worker.place():
                task = await self._task(request, worker, model, arrived_s)
                answer = _Answer(
                    name, worker, model, task, receive, Sender(send, self._limits.idle_timeout_s)
                )
                await worker.run(task, receive)
                if task.query.stream:
                    await self._stream(answer, arrived_ns)
                else:
                    coding = coding_wanted(request.headers.get("accept-encoding"))
                    await self._whole(answer, coding, arrived_ns)
        except ProtocolError as error:
            self._telemetry.refused(name, error.status, time.perf_counter_ns() - arrived_ns)
            raise
        except ClientDisconnect:
            self._telemetry.refused(name, CLIENT_GONE, time.perf_counter_ns() - arrived_ns)
            raise

    async def _worker(self, name: str, request: Request) -> Worker:
        self._repository.describe(name)
        check_version(name, request.path_params.get("version"))
        return await self._repository.worker(name)

    async def _task(self, request: Request, worker: Worker, model: ServedModel, arrived_s: float) -> Task:
        length = header_length(request.headers)
        body = await read_body(request.receive, request.headers, self._limits, ahead=length or 0)
        query = parse(body, length, model, self._limits, model.max_batch(worker.batching, self._limits))
        deadline_s = None if query.timeout_us is None else arrived_s + query.timeout_us * 1e-6
        return Task(query, deadline_s)

    async def _whole(self, answer: _Answer, coding: str | None, arrived_ns: int) -> None:
        task = answer.task
        total_ns = time.perf_counter_ns() - arrived_ns
        cost = self._telemetry.answered(answer.name, answer.model, task, total_ns)
        document = encode(answer.name, task.query, task.ready, cost.parameters())
        try:
            await send_whole(answer.sender, document, coding, cost.headers())
        except ClientDisconnect:
            return  # It was computed, and nobody takes it.

    async def _stream(self, answer: _Answer, arrived_ns: int) -> None:
        """Send every state that is asked for as soon as it is there, computing the next one meanwhile.

        Errors were refused with a status of their own until here; from here on they are the last line.
        """
        task, sender = answer.task, answer.sender
        await sender.start({"content-type": STREAM_TYPE, "cache-control": "no-store"})
        try:
            while not task.finished:
                frame = self._frame(answer, {"step": task.done})
                upcoming = asyncio.ensure_future(answer.worker.run(task, answer.receive))
                try:
                    await sender.frame(*frame)
                    await upcoming
                finally:
                    upcoming.cancel()
            total_ns = time.perf_counter_ns() - arrived_ns
            self._telemetry.answered(answer.name, answer.model, task, total_ns)
            await sender.frame(*self._frame(answer, {"step": task.done, "final": True}))
            await sender.end()
        except ProtocolError as error:
            self._failed(answer, error.status, arrived_ns)
            await sender.frame(orjson.dumps({"error": str(error), "status": error.status}), [])
            await sender.end()
        except ClientDisconnect:
            if not task.finished:
                self._failed(answer, CLIENT_GONE, arrived_ns)

    def _frame(self, answer: _Answer, parameters: dict[str, Any]) -> tuple[bytes, list[memoryview]]:
        """One frame, with what the rollout has cost so far."""
        cost = self._telemetry.cost(answer.model, answer.task).parameters()
        return encode(answer.name, answer.task.query, answer.task.ready, parameters | cost)

    def _failed(self, answer: _Answer, status: int, arrived_ns: int) -> None:
        self._telemetry.refused(answer.name, status, time.perf_counter_ns() - arrived_ns)
        self._telemetry.left(answer.name, answer.model, answer.task)
