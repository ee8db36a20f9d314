"""A small step, exported once, and what opens it by each runtime."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ptprof.export import DeployableStep
from ptprof.export.onnx import write_onnx
from ptprof.export.torchscript import write_torchscript
from ptprof.records import Statistics
from ptprof.runtimes import Runner, open_runner
from ptprof.runtimes.metadata import Metadata

STATISTICS = Statistics(fields=("a", "b", "c"), mean=(0.5, -1.0, 0.0), std=(0.5, 2.0, 1.0))
GRID = (8, 12)
HISTORY = 2


def small_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(6, 8, 3, padding=1, padding_mode="circular"),
        nn.BatchNorm2d(8),
        nn.GELU(),
        nn.Conv2d(8, 3, 1),
    ).eval()


@pytest.fixture(scope="session")
def metadata() -> Metadata:
    return Metadata(
        model="small",
        run="small-test-s0",
        recipe="test",
        grid=GRID,
        history=HISTORY,
        fields=STATISTICS.fields,
        units=dict.fromkeys(STATISTICS.fields, "1"),
        statistics=STATISTICS,
        checkpoint_sha256="0" * 64,
        versions={"torch": torch.__version__},
    )


@pytest.fixture(scope="session")
def step() -> DeployableStep:
    return DeployableStep(small_model(), STATISTICS, HISTORY, GRID).eval()


@pytest.fixture(scope="session")
def files(
    step: DeployableStep, metadata: Metadata, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The file of each runtime that runs one."""
    folder = tmp_path_factory.mktemp("small")
    write_onnx(step, metadata, folder / "model.onnx")
    write_torchscript(step, metadata, folder / "model.pt")
    return {
        "onnxruntime": folder / "model.onnx",
        "openvino": folder / "model.onnx",
        "torchscript": folder / "model.pt",
    }


@pytest.fixture(scope="session")
def require_runtime() -> Callable[[str], None]:
    """Skip where what a runtime needs is not installed; in CI, where it must be, fail instead."""

    def require(runtime: str) -> None:
        if runtime == "openvino" and importlib.util.find_spec("openvino") is None:
            reason = "openvino is not installed: pip install 'ptprof[openvino]'"
            if os.environ.get("PTPROF_FORBID_SKIPS"):
                pytest.fail(reason)
            pytest.skip(reason)

    return require


@pytest.fixture
def open_small(
    step: DeployableStep, files: dict[str, Path], require_runtime: Callable[[str], None]
) -> Callable[..., Runner]:
    """Open the small step by a runtime's name."""

    def opened(runtime: str, **options: Any) -> Runner:
        require_runtime(runtime)
        return open_runner(runtime, files.get(runtime, step), **options)

    return opened


@pytest.fixture(scope="session")
def states() -> Callable[..., Tensor]:
    """Give ``n`` random windows."""

    def make(count: int, seed: int = 0) -> Tensor:
        return torch.randn(count, HISTORY, 3, *GRID, generator=torch.Generator().manual_seed(seed))

    return make
