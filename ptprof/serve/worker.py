"""One thread per loaded model, which alone uses its runner, and a bounded line of requests before it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ptprof.errors import ProtocolError
from ptprof.runtimes import Runner
from ptprof.serve.batching import Batcher, Batching
from ptprof.serve.forecast import Task, Timing, step
from ptprof.serve.ledger import Ledger, Spent
from ptprof.serve.model import ServedModel, Source

logger = logging.getLogger("ptprof.serve")


@dataclass(frozen=True)
class Call:
    """One call of a model: of how many states, of how many requests; what it took."""

    states: int
    requests: int
    timing: Timing
    spent: Spent


class Worker:
    """Opens a model, does the steps of its requests batch by batch, and closes it, all on one thread.

    A rollout goes back into the line after each of its steps: the next ones of all that run go together, and
    a long one does not keep others from their turn.

    Parameters
    ----------
    name : of the model, for messages and for the thread
    max_queue : how many requests may wait beside those that run
    ledger : tells what a call of the model has spent
    called : told of every call of the model, on the worker's thread
    """

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        batching: Batching,
        max_queue: int,
        ledger: Ledger,
        called: Callable[[Call], None] = lambda _: None,
    ) -> None:
        self.batching = batching
        self.opened: Future[ServedModel] = Future()
        self.admitted = 0
        self._name = name
        self._source = source
        self._max_queue = max_queue
        self._ledger = ledger
        self._called = called
        self._batcher: Batcher[Task] = Batcher(batching)
        self._answers: dict[Task, Future[None]] = {}
        self._running: list[Task] = []
        self._closing = self._dropping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._live, name=f"ptprof-{name}", daemon=True)
        self._thread.start()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the line, taken before a request's body is read: what waits is bounded in bytes too.

        Raises
        ------
        ProtocolError : 503 where the line is full, or the model is being unloaded
        """
        if self._closing:
            raise ProtocolError(f"{self._name!r} is being unloaded, or the server stops", 503)
        if self.admitted - max(len(self._running), 1) >= self._max_queue:
            waiting = f"{self.admitted} requests for {self._name!r} wait already"
            raise ProtocolError(f"{waiting}: try again later", 503)
        self.admitted += 1
        try:
            yield
        finally:
            with self._changed:
                self.admitted -= 1
                self._changed.notify()

    async def run(self, task: Task, receive: Receive) -> None:
        """Go on with ``task`` until it is finished, or pauses; the work of a client who goes is given up.

        Raises
        ------
        ClientDisconnect : the client has gone
        ProtocolError : 503 where its time is up or memory ran out; 500 for a fault, which goes to the log
        """
        done = asyncio.wrap_future(self.submit(task))
        gone = asyncio.create_task(_gone(receive))
        either: set[asyncio.Future[Any]] = {done, gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                self.cancel(task)
                # Until its step has ended the thread is not free for the next, and it may still fail.
                await asyncio.wait({done})
            await done
        finally:
            gone.cancel()
            if not done.done():
                # Who waits for it was cancelled himself: nobody will read the answer.
                done.cancel()
                self.cancel(task)

    def submit(self, task: Task) -> Future[None]:
        """Put ``task`` in the line; the answer is there when it is finished or pauses, or says why not."""
        answer: Future[None] = Future()
        # From here on it cannot be cancelled but by `cancel`.
        answer.set_running_or_notify_cancel()
        with self._changed:
            if self._dropping:
                answer.set_exception(_stopping())
                return answer
            self._answers[task] = answer
            task.timing.queue -= time.perf_counter_ns()
            self._batcher.add(task, task.size, deadline_s=task.deadline_s, delay=task.done == 0)
            self._changed.notify()
        return answer

    def cancel(self, task: Task) -> None:
        """Give ``task`` up: at once if it waits, after its step if it runs."""
        with self._changed:
            task.cancelled = True
            if self._batcher.remove(task):
                self._answer(task, ClientDisconnect())

    def close(self, *, drop: bool) -> None:
        """Take nothing more; finish what was admitted, or drop all but the step that runs. Does not wait."""
        with self._changed:
            self._closing = True
            self._dropping = self._dropping or drop
            self._changed.notify()

    def join(self) -> None:
        """Wait until the model is closed."""
        self._thread.join()

    def _live(self) -> None:
        try:
            model = self._source.open()
        except Exception as error:  # noqa: BLE001 - for who waits for it to judge
            self.opened.set_exception(error)
            return
        self.opened.set_result(model)
        try:
            while batch := self._next():
                self._work(model.runner, batch)
        finally:
            self._source.close(model)

    def _next(self) -> list[Task]:
        """The next batch, waited for; empty when there will be none."""
        with self._changed:
            self._running = []
            while True:
                for task in self._batcher.overdue():
                    self._answer(task, ProtocolError("the request's timeout is over", 503))
                if self._dropping:
                    for task in list(self._answers):
                        self._batcher.remove(task)
                        self._answer(task, _stopping())
                if self._closing and (self._dropping or not self.admitted):
                    return []
                if batch := self._batcher.take():
                    self._running = batch
                    now = time.perf_counter_ns()
                    for task in batch:
                        task.timing.queue += now
                    return batch
                self._changed.wait(self._batcher.wait_s())

    def _work(self, runner: Runner, batch: list[Task]) -> None:
        """Do one step of ``batch``, and answer or put back each of it."""
        account = self._ledger.begin()
        failure: Exception | None = None
        timing = Timing()
        try:
            timing = step(runner, batch)
        except Exception as error:  # noqa: BLE001 - whatever a model raises, the others are served on
            failure = error
        finally:
            self._ledger.end(account)
        if isinstance(failure, MemoryError | torch.OutOfMemoryError) and len(batch) > 1:
            for task in batch:
                self._work(runner, [task])
            return
        states = sum(task.size for task in batch)
        if failure is None:
            self._called(Call(states, len(batch), timing, account))
        with self._changed:
            for task in batch:
                task.spent.add(account, task.size / states)
                task.timing.add(timing)
                self._settle(task, failure and self._refusal(failure, runner))

    def _settle(self, task: Task, failure: Exception | None) -> None:
        if failure is None and task.cancelled:
            failure = ClientDisconnect()
        if failure is not None or task.pauses:
            self._answer(task, failure)
        else:
            task.timing.queue -= time.perf_counter_ns()
            self._batcher.add(task, task.size, deadline_s=task.deadline_s, delay=False)

    def _refusal(self, failure: Exception, runner: Runner) -> Exception:
        """What the client reads of a failure."""
        if isinstance(failure, MemoryError | torch.OutOfMemoryError):
            return ProtocolError(
                f"out of memory on {runner.device}: send a smaller batch or a shorter rollout", 503
            )
        logger.error("a forecast by %s failed", self._name, exc_info=failure)
        return ProtocolError("the forecast failed: the server's log says why", 500)

    def _answer(self, task: Task, failure: Exception | None) -> None:
        answer = self._answers.pop(task)
        if failure is None:
            answer.set_result(None)
        else:
            answer.set_exception(failure)


def _stopping() -> ProtocolError:
    return ProtocolError("the server is stopping", 503)


async def _gone(receive: Receive) -> None:
    """Return when the client goes; the body is read already."""
    while (await receive())["type"] != "http.disconnect":
        pass
