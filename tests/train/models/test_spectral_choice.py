"""The rule by which products or FFT are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.train.models.spectral_choice import ADVANTAGE, cheaper, operations
from ptprof.train.recipe import load_recipe

sides = st.tuples(st.integers(8, 512), st.integers(8, 512))


def test_operations_by_hand() -> None:
    """On 16×32, 4 modes along x and 3 along the real axis."""
    products, fourier = operations((16, 32), (16, 32), (4, 3))
    assert fourier == 2 * 2.5 * 512 * 9
    # Analysis and synthesis over y: 6 rows for each of 512 values; over x: 8 columns of 6 rows, and 16.
    assert products == 2 * (2 * 6 * 512) + 2 * 6 * 16 * 8 + 2 * 6 * 16 * 16


@given(grid=sides, modes=st.tuples(st.integers(1, 256), st.integers(1, 256)))
def test_more_modes_never_turn_from_fft_to_products(grid: tuple[int, int], modes: tuple[int, int]) -> None:
    more = (modes[0] + 8, modes[1] + 8)
    if cheaper(grid, grid, modes) == "fft":
        assert cheaper(grid, grid, more) == "fft"


@given(grid=sides)
def test_modes_that_the_grid_does_not_have_do_not_count(grid: tuple[int, int]) -> None:
    every = (grid[0], grid[1] // 2 + 1)
    assert operations(grid, grid, (600, 600)) == operations(grid, grid, every)


@pytest.mark.parametrize("recipe", ["paper", "quick"])
def test_ptprofs_own_models_are_products(recipe: str) -> None:
    """The command line takes products for them without asking."""
    known = load_recipe(recipe)
    for name in ("fno", "tfno"):
        modes = known.models[name].settings["modes"]
        assert cheaper((256, 512), (256, 512), (modes, modes // 2 + 1)) == "gemm"


def test_the_docs_and_the_constant_agree() -> None:
    docs = Path(__file__).parents[3] / "docs" / "own-model.md"
    words = {6: "six", 7: "seven", 8: "eight", 10: "ten", 12: "twelve", 15: "fifteen", 20: "twenty"}
    assert f"up to {words[round(ADVANTAGE)]} operations" in docs.read_text(encoding="utf-8")
