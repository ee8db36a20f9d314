"""A small real step, and servers of it on free loopback ports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ptprof.runtimes import Runner, open_runner
from ptprof.serve import Limits, ServedModel, create_app
from ptprof.serve.model import Source
from ptprof.serve.server import http_server, listen

STATE_SHAPE = (3, 2, 8, 12)

Serving = Callable[..., AbstractContextManager[str]]


class SmallStep(nn.Module):
    """A nonlinear step on 8×12 cells: every output value depends on the whole window's neighbourhood."""

    state_shape = STATE_SHAPE

    def __init__(self) -> None:
        super().__init__()
        history, channels, *_ = STATE_SHAPE
        torch.manual_seed(1)
        self.mix = nn.Conv2d(history * channels, channels, 3, padding=1, padding_mode="circular")

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        following = state[:, -1] + torch.tanh(self.mix(state.flatten(1, 2)))
        return following, torch.cat((state[:, 1:], following.unsqueeze(1)), dim=1)


class GatedStep(SmallStep):
    """A step that tells when it has begun, and ends when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.calls = 0

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        self.begun.release()
        if not self.gate.wait(20):
            raise RuntimeError("the test never opened the gate")
        return super().forward(state)


@pytest.fixture(scope="session")
def small_step() -> type[SmallStep]:
    """To make steps like it from."""
    return SmallStep


@pytest.fixture
def gated() -> GatedStep:
    return GatedStep()


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    """The runner that says what is right; servers have runners of their own."""
    with open_runner("eager", SmallStep()) as runner:
        yield runner


@pytest.fixture(scope="session")
def state() -> Tensor:
    """Two states, ``(2, h, C, X, Y)``."""
    return torch.randn(2, *STATE_SHAPE, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="session")
def small() -> Callable[[], ServedModel]:
    """Make a served model of a small step."""
    return lambda: ServedModel.of(open_runner("eager", SmallStep()))


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Serve models as the command does, in a thread, for the length of a block that gets ``host:port``."""

    @contextmanager
    def serving(models: Mapping[str, Source], limits: Limits | None = None, **options: Any) -> Iterator[str]:
        with listen("127.0.0.1", 0) as listener:
            server = http_server(create_app(models, limits=limits, **options))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            host, port = listener.getsockname()
            thread.start()
            try:
                yield f"{host}:{port}"
            finally:
                server.should_exit = True
                thread.join(30)
        assert not thread.is_alive()

    return serving
