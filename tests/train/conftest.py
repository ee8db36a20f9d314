"""A recipe that trains in seconds, and the flows that it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptprof.study import Study
from ptprof.train.data import generate
from ptprof.train.recipe import Recipe, load_recipe


def _small_recipe(**changes: Any) -> Recipe:
    """Recipe quick on four short flows, for four epochs of four steps."""
    quick = load_recipe("quick")
    flows = {
        "settings": ((500.0, 1.0),),
        "n_shear": (2,),
        "n_blobs": (2, 4),
        "width": (2.0, 4.0),
        "steps": 14,
    }
    protocol = {
        "batch": 4,
        "steps_per_epoch": 4,
        "max_epochs": 4,
        "patience": 4,
        "rollout_steps": 3,
        "data": quick.data.model_copy(update=flows),
    }
    return quick.model_copy(update=protocol | changes)


@pytest.fixture(scope="session")
def small_recipe() -> Callable[..., Recipe]:
    """Make that recipe, with changes."""
    return _small_recipe


@pytest.fixture(scope="session")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of the small recipe."""
    folder = tmp_path_factory.mktemp("flows")
    generate(folder / "shear_flow", _small_recipe())
    return folder


@pytest.fixture
def new_study(flows: Path, tmp_path: Path) -> Study:
    """A study with that data, and nothing trained."""
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "data").symlink_to(flows)
    return Study(tmp_path / "study")
