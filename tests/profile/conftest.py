"""What tests of measuring share: time that passes by working only, windows, and a study of one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptprof.energy import CpuModel
from ptprof.energy.combine import energy
from ptprof.records import EnergyBreakdown, RunRecord, Window
from ptprof.study import Study, write_record
from ptprof.train.checkpoint import save_weights
from ptprof.train.data.shear_flow import Flow
from ptprof.train.data.well import WellFile, file_name
from ptprof.train.models import build


@dataclass
class Clock:
    """Time that passes by sleeping only."""

    time_s: float = 1000.0

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_window() -> Callable[..., Window]:
    """A window of so many calls in so many seconds, at so many watts of GPU and of modelled CPU."""

    def make(calls: int = 10, duration_s: float = 1.0, gpu_w: float | None = None, **changes: Any) -> Window:
        modelled: dict[str, Any] = {
            "systematic": 0.5,
            "gain_id": "cpu-model",
            "source": "modelled",
            "sensor": CpuModel().name,
        }
        measured: dict[str, Any] = {
            "systematic": 0.05,
            "gain_id": "GPU-a",
            "source": "measured",
            "sensor": "n",
        }
        gpu = None if gpu_w is None else energy(gpu_w * duration_s, 0.01, **measured)
        fields = {
            "start_s": 0.0,
            "duration_s": duration_s,
            "calls": calls,
            "latencies_s": (duration_s / calls,) * calls,
            "energy": EnergyBreakdown(
                gpu=gpu,
                cpu=energy(6.0 * duration_s, 0.0, **modelled),
                missing={"dram": "no DRAM sensor"} | ({} if gpu else {"gpu": "none here"}),
            ),
        }
        return Window(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a test split of smooth noise and the weights of an untrained quick FNO."""
    root = tmp_path_factory.mktemp("study")
    study = Study(root)
    flow = Flow(500.0, 1.0, n_shear=2, n_blobs=2, width=2.0)
    path = study.data / "data" / "test" / file_name(500.0, 1.0)
    noise = np.random.default_rng(0).standard_normal((6, 4, 48, 96)).astype(np.float32)
    with WellFile(path, [flow], (48, 96), [0.1 * i for i in range(6)], "{}") as file:
        for step, state in enumerate(noise):
            file.write(0, step, state)
    torch.manual_seed(0)
    weights = build("fno", "quick").state_dict()
    save_weights(study.run_folder("fno-quick-s0") / "checkpoint.pt", "fno", weights)
    return root


@pytest.fixture
def study(small_study: Path, make_run: Callable[..., RunRecord]) -> Study:
    """The small study, with the record of its run and nothing measured yet."""
    from ptprof.records import Statistics
    from ptprof.study import sha256

    study = Study(small_study)
    fields = ("tracer", "pressure", "velocity_x", "velocity_y")
    run = make_run(
        "fno",
        EnergyBreakdown(),
        checkpoint_sha256=sha256(study.run_folder("fno-quick-s0") / "checkpoint.pt"),
        statistics=Statistics(fields=fields, mean=(0.0,) * 4, std=(1.0,) * 4),
    )
    write_record(study.run_folder(run.run) / "run.json", run)
    for path in study.root.glob("measurements/*"):
        path.unlink()
    return study
