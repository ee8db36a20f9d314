"""Which models a command means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptprof import choices
from ptprof.errors import StudyError, UsageError
from ptprof.records import EnergyBreakdown, RunRecord
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


def test_a_number_of_evaluations_alone_means_the_model_that_samples(study: Study, tmp_path: Path) -> None:
    assert [run.model for run in choices.with_weights(study, None, None, None, 4)] == ["flow-matching"]
    assert [run.model for run in choices.with_weights(study, ["fno"], None, None, 4)] == ["fno"]
    (run,) = choices.with_weights(study, None, "unet-cp-quick-s0", None, 4)
    assert run.model == "unet-cp"
    with pytest.raises(StudyError, match="flow-matching"):
        choices.with_weights(Study(tmp_path / "empty"), None, None, None, 4)
