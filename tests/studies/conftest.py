"""A study with everything that a study can hold, small: its weights and exports are a few bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof.cli import main
from ptprof.records import (
    ArtifactFile,
    ArtifactRecord,
    EnergyBreakdown,
    FieldErrors,
    Measurement,
    Parity,
    PinnPoint,
    RunRecord,
    ServedModelTotal,
    ServedRecord,
    Statistics,
)
from ptprof.study import Study, sha256, write_record

Make = Callable[..., Any]
PARITY = Parity(
    windows=4,
    rollout_steps=10,
    one_step=1e-8,
    rollout=1e-8,
    one_step_float64=1e-8,
    reference_float64=1e-8,
    gate=1e-6,
    by_field={
        "tracer": FieldErrors(one_step=1e-8, rollout=1e-8, one_step_float64=1e-8, rollout_float64=None)
    },
    provider="CPUExecutionProvider",
)
SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}


class Maker:
    """Puts things into a study as the commands would, without the work."""

    def __init__(self, study: Study, run: Make, measurement: Make, energy: Make) -> None:
        self.study = study
        self._run, self._measurement, self._energy = run, measurement, energy

    def _joules(self, joules: float) -> EnergyBreakdown:
        return EnergyBreakdown(
            cpu=self._energy(joules, source="modelled", gain_id="cpu-model", systematic=0.5)
        )

    def train(self, model: str, joules: float, weights: str = "", seed: int = 0, **changes: Any) -> RunRecord:
        name = f"{model}-quick-s{seed}"
        folder = self.study.run_folder(name)
        folder.mkdir(parents=True)
        (folder / "checkpoint.pt").write_bytes(f"weights of {name} {weights}".encode())
        (folder / "epochs.jsonl").write_text("")
        changes = {
            "run": name,
            "seed": seed,
            "checkpoint_sha256": sha256(folder / "checkpoint.pt"),
            **changes,
        }
        record: RunRecord = self._run(model, self._joules(joules), **changes)
        write_record(folder / "run.json", record)
        return record

    def export(self, run: RunRecord, *formats: str, bytes_of: str = "", created: str = "2026-01-01") -> None:
        folder = self.study.artifact_folder(run.run)
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for format in formats:
            path = folder / f"model{SUFFIXES[format]}"
            path.write_bytes(f"{format} of {run.run} {run.checkpoint_sha256} {bytes_of}".encode())
            fields: Any = {"name": path.name, "format": format, "sha256": sha256(path), "parity": PARITY}
            files.append(ArtifactFile(size_bytes=path.stat().st_size, **fields))
        record = ArtifactRecord(
            run=run.run,
            model=run.model,
            recipe=run.recipe,
            grid=run.grid,
            history=run.history,
            statistics=Statistics(fields=("tracer",), mean=(0.0,), std=(1.0,)),
            checkpoint_sha256=run.checkpoint_sha256,
            files=tuple(files),
            environment=run.environment,
            created=f"{created}T00:00:00+00:00",
        )
        write_record(folder / "artifact.json", record)

    def measure(
        self, run: RunRecord, joules: float, runtime: str = "onnxruntime", **changes: Any
    ) -> Measurement:
        formats = {"onnxruntime": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}
        path = self.study.artifact_folder(run.run) / f"model{formats[runtime]}"
        changes = {"run": run.run, "runtime": runtime, "artifact_sha256": sha256(path), **changes}
        measurement: Measurement = self._measurement(run.model, self._joules(joules), **changes)
        self.study.add_measurement(measurement)
        return measurement

    def serve(self, requests: int, updated: str) -> None:
        total = ServedModelTotal(
            model="fno",
            run="fno-quick-s0",
            requests=requests,
            steps=requests,
            energy_j=1.0,
            co2eq_g=1.0,
            unmetered_requests=0,
        )
        record = ServedRecord(started="2026-01-03", updated=updated, models=(total,))
        write_record(self.study.root / "served" / "2026-01-03-abcd.json", record)

    def burgers(self, joules: float) -> None:
        run = self._run("unet", self._joules(joules))
        point = PinnPoint(
            run="burgers-nn-quick-n100-s0",
            model="burgers-nn",
            recipe="quick",
            recipe_sha256="r",
            seed=0,
            points=100,
            parameters=10,
            steps=5,
            evaluations=5,
            stopped="planned",
            loss=0.1,
            test_mse=0.1,
            duration_s=1.0,
            energy=run.energy,
            device="cpu",
            environment=run.environment,
            created="2026-01-01T00:00:00+00:00",
            stages=(),
        )
        write_record(self.study.root / "burgers" / f"{point.run}.json", point)


@pytest.fixture
def maker(make_run: Make, make_measurement: Make, make_energy: Make) -> Callable[[Path], Maker]:
    """Put things into the study in a folder."""
    return lambda folder: Maker(Study(folder), make_run, make_measurement, make_energy)


@pytest.fixture
def whole(tmp_path: Path, maker: Callable[[Path], Maker]) -> Study:
    """Three models of two seeds, exported and measured on two runtimes; a server's total, data, and more."""
    made = maker(tmp_path / "whole")
    costs = {"unet": (1000.0, 1.0), "fno": (100.0, 3.0), "tfno": (300.0, 2.0)}
    for model, (training, query) in costs.items():
        for seed in (0, 1):
            run = made.train(model, training + seed, seed=seed)
            made.export(run, "onnx", "torchscript")
            made.measure(run, query)
            made.measure(run, 1.1 * query, "torchscript")
    made.serve(7, "2026-01-03")
    made.burgers(3.0)
    data = made.study.data / "data" / "train"
    data.mkdir(parents=True)
    (data / "flow.hdf5").write_bytes(b"a flow")
    (made.study.data / "stats.yaml").write_text("mean: 0\n")
    (made.study.root / "notes.txt").write_text("measured in the cellar\n")
    return made.study


@pytest.fixture
def ptprof(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command; gives the exit status, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ptprof", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run
