"""Which models a command means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptprof import choices
from ptprof.errors import StudyError, UsageError
from ptprof.records import EnergyBreakdown, PinnRecord, RunRecord
from ptprof.study import Study, write_record
from ptprof.train.recipe import FORECASTERS

SEVEN = ["unet", "unet-cn", "unet-cp", "unet-cn-cp", "fno", "tfno", "ufno"]


@pytest.fixture
def study(tmp_path: Path, make_run: Callable[..., RunRecord]) -> Study:
    """A study of three trained models."""
    study = Study(tmp_path / "study")
    for model in ("flow-matching", "unet-cp", "fno"):
        run = make_run(model, EnergyBreakdown())
        write_record(study.run_folder(run.run) / "run.json", run)
    return study


@pytest.fixture
def add_pinn(study: Study, make_run: Callable[..., RunRecord]) -> Callable[..., PinnRecord]:
    """Put a trained PINN into the study."""

    def add(model: str) -> PinnRecord:
        record = PinnRecord(
            run=f"{model}-quick-s0",
            model=model,
            recipe="quick",
            recipe_sha256="e",
            seed=0,
            points=1000,
            parameters=7851,
            steps=1,
            evaluations=1,
            stopped="planned",
            loss=1.0,
            test_mse=1.0,
            duration_s=1.0,
            energy=EnergyBreakdown(),
            device="cpu",
            environment=make_run("fno", EnergyBreakdown()).environment,
            created="2026-01-01T00:00:00+00:00",
            checkpoint_sha256="c",
        )
        write_record(study.run_folder(record.run) / "run.json", record)
        return record

    return add


def test_none_named_means_the_seven_and_flow_matching_is_named_or_among_all() -> None:
    assert list(FORECASTERS) == choices.known(None) == choices.known([]) == SEVEN
    assert choices.known(["all"])[:8] == [*SEVEN, "flow-matching"]
    assert choices.known(["flow-matching", "fno", "fno"]) == ["flow-matching", "fno"]
    with pytest.raises(UsageError, match="did you mean 'flow-matching'"):
        choices.known(["flowmatching"])


def test_what_is_trained_is_what_is_exported_and_measured(study: Study) -> None:
    for models in (None, [], ["all"]):
        for runs in (
            choices.trained(study, models, None),
            choices.with_weights(study, models, None, None, None),
        ):
            assert [run.model for run in runs] == ["unet-cp", "fno", "flow-matching"]


def test_transforms_by_fft_alone_mean_the_models_that_have_them(study: Study, tmp_path: Path) -> None:
    found = choices.with_weights(study, None, None, None, None, "fft")
    assert [run.model for run in found] == ["fno"]
    # One that is named is meant, and refused by the export.
    found = choices.with_weights(study, ["unet-cp"], None, None, None, "fft")
    assert [run.model for run in found] == ["unet-cp"]


def test_a_pinn_is_meant_where_it_is_named(study: Study, add_pinn: Callable[..., PinnRecord]) -> None:
    with pytest.raises(StudyError, match="`ptprof train burgers-nn`"):
        choices.with_weights(study, ["burgers-nn"], None, None, None)
    pinn = add_pinn("burgers-nn")
    for models in (None, ["all"]):
        found = choices.with_weights(study, models, None, None, None)
        assert [run.model for run in found] == ["unet-cp", "fno", "flow-matching"]
    assert choices.with_weights(study, ["burgers-nn"], None, None, None) == [pinn]
    assert choices.with_weights(study, None, pinn.run, None, None) == [pinn]
    found = choices.with_weights(study, ["fno", "burgers-nn"], None, "quick", None)
    assert [run.model for run in found] == ["fno", "burgers-nn"]
    with pytest.raises(StudyError, match="--recipe paper"):
        choices.with_weights(study, ["burgers-nn"], None, "paper", None)


def test_a_number_of_evaluations_alone_means_the_model_that_samples(study: Study, tmp_path: Path) -> None:
    assert [run.model for run in choices.with_weights(study, None, None, None, 4)] == ["flow-matching"]
    assert [run.model for run in choices.with_weights(study, ["fno"], None, None, 4)] == ["fno"]
    (run,) = choices.with_weights(study, None, "unet-cp-quick-s0", None, 4)
    assert run.model == "unet-cp"
    with pytest.raises(StudyError, match="flow-matching"):
        choices.with_weights(Study(tmp_path / "empty"), None, None, None, 4)
