"""Exports of one run that evaluate its network so many times each, side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptprof.errors import RuntimeUnavailable, StudyError, UsageError
from ptprof.export import deployable, export, open_model
from ptprof.export.variant import Variant, file_variant
from ptprof.records import ArtifactRecord, EnergyBreakdown, RunRecord, Statistics
from ptprof.runtimes import open_runner
from ptprof.study import Study
from ptprof.train.checkpoint import save_weights, weights_of
from ptprof.train.data.shear_flow import Flow
from ptprof.train.data.well import WellFile, file_name
from ptprof.train.models import build

SCRIPT = ("torchscript",)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "study")


@pytest.fixture
def add_run(
    study: Study, make_run: Callable[..., RunRecord], statistics: Statistics, states: Callable[..., Tensor]
) -> Callable[[str], RunRecord]:
    """Put a test split and a model with random weights into the study."""

    def add(model: str) -> RunRecord:
        path = study.data / "data" / "test" / file_name(500.0, 1.0)
        fields = torch.cat((states(1, seed=1)[0], states(1, seed=2)[0]))
        with WellFile(
            path,
            [Flow(500.0, 1.0, n_shear=2, n_blobs=2, width=2.0)],
            (48, 96),
            [0.1 * i for i in range(8)],
            "{}",
        ) as file:
            for step, state in enumerate(fields.numpy()):
                file.write(0, step, state)
        torch.manual_seed(0)
        weights = weights_of(build(model, "quick"))
        for name, value in weights.items():
            if name.endswith("head.weight"):
                # So that the velocity depends on where the noise has been carried to.
                value.mul_(10)
        digest = save_weights(study.run_folder(f"{model}-quick-s0") / "checkpoint.pt", model, weights)
        return make_run(model, EnergyBreakdown(), checkpoint_sha256=digest, statistics=statistics)

    return add


def listed(record: ArtifactRecord) -> list[tuple[str, str, str]]:
    return [(file.name, file.format, file.variant) for file in record.files]


def test_variants_stand_beside_the_default_and_each_says_what_it_is(
    study: Study, add_run: Callable[[str], RunRecord], states: Callable[..., Tensor]
) -> None:
    run = add_run("flow-matching")
    export(study, run, SCRIPT)
    assert listed(export(study, run, SCRIPT, nfe=2)) == [
        ("model-nfe2.pt", "torchscript", "nfe2"),
        ("model.pt", "torchscript", ""),
    ]
    folder = study.artifact_folder(run.run)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    record = export(study, run, SCRIPT, nfe=2)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert [name for name, _, _ in listed(export(study, run, SCRIPT, force=True))] == [
        name for name, _, _ in listed(record)
    ]
    given = {}
    for nfe, evaluations in ((None, 4), (2, 2)):
        with open_model(study, run, "torchscript", nfe=nfe) as runner, torch.inference_mode():
            assert runner.metadata is not None
            assert (runner.nfe, runner.metadata.sampler) == (evaluations, "midpoint")
            step = deployable(study, run, nfe)
            assert step.nfe == evaluations
            given[nfe] = runner.step(states(1))[0]
            noise = torch.randn(1, 4, 48, 96, generator=torch.Generator().manual_seed(0))
            torch.testing.assert_close(given[nfe], step(states(1), noise)[0], rtol=1e-4, atol=2e-5)
    assert float((given[None] - given[2]).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("model", "nfe", "said"),
    [
        ("flow-matching", 3, "nfe must be even, not 3"),
        ("flow-matching", 0, "once or more often, not 0"),
        ("unet-cp", 4, "only flow-matching evaluates its network several times"),
    ],
)
def test_evaluations_that_cannot_be_leave_nothing(
    model: str, nfe: int, said: str, study: Study, add_run: Callable[[str], RunRecord]
) -> None:
    with pytest.raises(UsageError, match=said):
        export(study, add_run(model), SCRIPT, nfe=nfe)
    assert not study.artifact_folder(f"{model}-quick-s0").exists()


def test_a_variant_that_was_not_exported_is_named_with_the_command_that_does(
    study: Study, add_run: Callable[[str], RunRecord]
) -> None:
    run = add_run("flow-matching")
    export(study, run, SCRIPT)
    with pytest.raises(StudyError, match="`ptprof export flow-matching --format torchscript --nfe 6`"):
        open_model(study, run, "torchscript", nfe=6)


def test_each_way_to_compute_is_a_file_of_its_own(
    study: Study, add_run: Callable[[str], RunRecord], states: Callable[..., Tensor]
) -> None:
    run = add_run("fno")
    export(study, run, SCRIPT)
    export(study, run, SCRIPT, spectral="fft")
    export(study, run, SCRIPT, precision="bf16")
    record = export(study, run, SCRIPT, batch=2)
    assert listed(record) == [
        ("model-b2.pt", "torchscript", "b2"),
        ("model-bf16.pt", "torchscript", "bf16"),
        ("model-fft.pt", "torchscript", "fft"),
        ("model.pt", "torchscript", ""),
    ]
    _, rounded, fft, _ = record.files
    assert rounded.precision == "bf16"
    # Rounded to eight bits, and to no fewer.
    assert 1e-5 < rounded.parity.one_step_float64 < rounded.parity.gate == 2e-2
    assert fft.parity.one_step_float64 <= fft.parity.gate
    with open_model(study, run, "torchscript", spectral="fft") as runner:
        assert "fft" in str(runner._step.graph)
    with open_model(study, run, "torchscript", batch=2) as runner:
        assert runner.batch == 2
        runner.step(states(2))
        with pytest.raises(UsageError, match=r"takes \(2, 4, 4, 48, 96\)"):
            runner.step(states(3))
    with open_model(study, run, "torchscript", precision="bf16") as runner:
        assert runner.metadata is not None
        assert runner.metadata.precision == "bf16"
    with pytest.raises(UsageError, match="computes in fp32, not bf16"):
        open_runner("torchscript", study.artifact_folder(run.run) / "model.pt", precision="bf16")


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("unet", {"spectral": "fft"}, "unet has no spectral layers"),
        ("fno", {"spectral": "fft", "formats": ["onnx"]}, "onnx cannot hold neuraloperator's"),
        ("fno", {"spectral": "fft", "formats": ["pt2"]}, "pt2 cannot hold neuraloperator's"),
        (
            "fno",
            {"precision": "bf16", "formats": ["torchscript", "onnx"]},
            "OpenVINO runs the same file in bf16",
        ),
        ("fno", {"batch": 0}, "1 state or more, not 0"),
        ("fno", {"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_variants_that_cannot_be_leave_nothing(
    model: str, options: dict[str, Any], said: str, study: Study, add_run: Callable[[str], RunRecord]
) -> None:
    run = add_run(model)
    with pytest.raises(UsageError, match=said):
        export(study, run, **{"formats": SCRIPT, **options})
    assert not study.artifact_folder(run.run).exists()


@pytest.mark.parametrize(
    ("runtime", "precision", "variant"),
    [
        ("torchscript", "fp32", "fft-b2-nfe4"),
        ("torchscript", "bf16", "fft-bf16-b2-nfe4"),
        ("pt2", "bf16", "fft-bf16-b2-nfe4"),
        ("openvino", "bf16", "fft-b2-nfe4"),
        ("onnxruntime", "fp32", "fft-b2-nfe4"),
        ("eager", "bf16", "fft-nfe4"),
    ],
)
def test_a_runtime_reads_the_variant_that_computes_as_it_is_asked_to(
    runtime: str, precision: str, variant: str
) -> None:
    assert file_variant(runtime, nfe=4, spectral="fft", precision=precision, batch=2) == variant


def test_no_variant_is_bf16_by_onnx_runtime() -> None:
    with pytest.raises(RuntimeUnavailable, match="openvino"):
        file_variant("onnxruntime", precision="bf16")


def test_the_command_of_a_variant_makes_it() -> None:
    assert Variant(2, "fft", "bf16", 3).command("fno", "pt2") == (
        "ptprof export fno --format pt2 --nfe 2 --spectral fft --precision bf16 --batch 3"
    )
