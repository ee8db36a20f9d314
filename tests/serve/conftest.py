"""A small real step, and servers of it on free loopback ports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ptprof.environment import environment
from ptprof.export import DeployableStep
from ptprof.export.onnx import write_onnx
from ptprof.export.torchscript import write_torchscript
from ptprof.records import (
    Accuracy,
    ArtifactFile,
    ArtifactRecord,
    EnergyBreakdown,
    Parity,
    RunRecord,
    Scores,
    Statistics,
)
from ptprof.runtimes import Runner, open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.serve import Limits, ServedModel, create_app
from ptprof.serve.model import Source
from ptprof.serve.server import http_server, listen
from ptprof.study import Study, sha256, write_record

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


FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
STATISTICS = Statistics(fields=FIELDS, mean=(0.5, 0.0, 0.1, -0.2), std=(0.4, 0.03, 0.7, 0.2))
ACCURACY = Accuracy(one_step=Scores(pearson_r={}, vrmse={}))
PARITY = Parity(
    windows=1,
    rollout_steps=1,
    one_step=0,
    rollout=0,
    one_step_float64=0,
    reference_float64=0,
    gate=1,
    by_field={},
    provider="CPUExecutionProvider",
)


def add_run(study: Study, model: str, created: str, grid: tuple[int, int], checkpoint: str) -> RunRecord:
    run = RunRecord(
        run=f"{model}-quick-{created}",
        model=model,
        recipe="quick",
        seed=0,
        recipe_sha256="0" * 64,
        parameters=1,
        grid=grid,
        history=4,
        statistics=STATISTICS,
        data_sha256="0" * 64,
        checkpoint_sha256=checkpoint,
        epochs=1,
        steps=1,
        duration_s=1,
        best_epoch=0,
        best_valid_loss=1,
        energy=EnergyBreakdown(),
        accuracy=ACCURACY,
        persistence=ACCURACY,
        device="cpu",
        environment=environment(),
        created=created,
    )
    write_record(study.run_folder(run.run) / "run.json", run)
    return run


def seeded_step(seed: int, grid: tuple[int, int] = (8, 12)) -> DeployableStep:
    torch.manual_seed(seed)
    model = torch.nn.Conv2d(16, 4, 3, padding=1)
    return DeployableStep(model, STATISTICS, history=4, grid=grid).eval()


def add_artifact(study: Study, run: RunRecord, step: DeployableStep) -> None:
    folder = study.artifact_folder(run.run)
    folder.mkdir(parents=True)
    about = Metadata(
        model=run.model,
        run=run.run,
        recipe=run.recipe,
        grid=run.grid,
        history=run.history,
        fields=run.statistics.fields,
        units=dict.fromkeys(FIELDS, "1"),
        statistics=run.statistics,
        checkpoint_sha256=run.checkpoint_sha256,
        versions={},
    )
    write_onnx(step, about, folder / "model.onnx")
    write_torchscript(step, about, folder / "model.pt")
    files = tuple(
        ArtifactFile(
            name=name,
            format=kind,
            sha256=sha256(folder / name),
            size_bytes=(folder / name).stat().st_size,
            parity=PARITY,
        )
        for name, kind in (("model.onnx", "onnx"), ("model.pt", "torchscript"))
    )
    record = ArtifactRecord(
        run=run.run,
        model=run.model,
        recipe=run.recipe,
        grid=run.grid,
        history=run.history,
        statistics=run.statistics,
        checkpoint_sha256=run.checkpoint_sha256,
        files=files,
        environment=run.environment,
        created=run.created,
    )
    write_record(folder / "artifact.json", record)


@pytest.fixture(scope="session")
def studies() -> SimpleNamespace:
    """To make small studies from: runs, and steps of a seed exported as theirs."""
    return SimpleNamespace(add_run=add_run, add_artifact=add_artifact, step=seeded_step)
