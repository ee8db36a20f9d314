"""A small data set, generated once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ptprof.train.data import generate
from ptprof.train.recipe import DataRecipe, Recipe, load_recipe


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    """Two settings of six initial conditions, seven states each."""
    data = DataRecipe(
        settings=((500.0, 1.0), (800.0, 0.5)),
        n_shear=(2,),
        n_blobs=(2, 3),
        width=(1.5, 2.0, 2.5),
        steps=7,
        dt=0.1,
    )
    return load_recipe("quick").model_copy(update={"grid": (48, 64), "data": data})


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory, small_recipe: Recipe) -> Path:
    """The small recipe's data; not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "shear_flow"
    generate(folder, small_recipe)
    return folder


@pytest.fixture
def own_copy(data_set: Path, tmp_path: Path) -> Callable[[], Path]:
    """Give a copy of the small data set that a test may damage."""

    def copy() -> Path:
        return Path(shutil.copytree(data_set, tmp_path / "shear_flow"))

    return copy
