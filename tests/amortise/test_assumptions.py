"""What a user states: intensities by number and by name, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from ptprof.amortise.assumptions import Embodied, stated
from ptprof.amortise.grids import grids, parse_intensity
from ptprof.errors import UsageError


def test_every_grid_says_what_it_is() -> None:
    table = grids()
    world = table["WORLD"]
    assert (world.intensity_g_per_kwh, world.year, world.kind) == (445.0, 2024, "average, direct")
    assert "IEA" in world.source
    assert len(table) > 30
    for code, grid in table.items():
        assert code == grid.code
        assert 10 < grid.intensity_g_per_kwh < 1000
        assert 2020 <= grid.year <= 2025
        assert grid.kind.startswith("average")
        assert grid.source


def test_grids_are_those_that_carbontracker_ships() -> None:
    """Where the package has the same year."""
    import csv
    from importlib import resources

    text = resources.files("carbontracker").joinpath("data/carbon-intensities.csv").read_text("utf-8")
    peers = {row["alpha-2"]: row for row in csv.DictReader(text.splitlines())}
    for code, grid in grids().items():
        if code != "WORLD" and peers[code]["Year"] == str(grid.year):
            theirs = float(peers[code]["Carbon intensity of electricity (gCO2eq/kWh)"])
            assert grid.intensity_g_per_kwh == pytest.approx(theirs, abs=0.5), code


def test_an_intensity_is_a_number_or_a_grid() -> None:
    assert parse_intensity("445") == 445.0
    assert parse_intensity("dk") == grids()["DK"]
    with pytest.raises(UsageError, match=r"known: .*DK.*FR"):
        parse_intensity("XX")
    with pytest.raises(UsageError, match="a number of gCO2eq/kWh or a grid"):
        parse_intensity("12g")


def test_training_and_serving_may_differ() -> None:
    both = stated(intensity="DK", pue=1.2)
    assert both.training == both.serving
    assert (both.training.grid, both.training.pue) == (grids()["DK"], 1.2)
    apart = stated(intensity="100", train_intensity="FR", serve_pue=1.5)
    assert apart.training.grid == grids()["FR"]
    assert (apart.serving.intensity_g_per_kwh, apart.serving.pue, apart.training.pue) == (100.0, 1.5, 1.0)


def test_a_busy_second_bears_its_share_of_the_device() -> None:
    """164 kg over five years at half use are 7.5 g in each busy hour."""
    device = Embodied(kg=164.0, lifetime_years=5.0, utilisation=0.5)
    assert device.grams_per_second * 3600 == pytest.approx(7.5, abs=0.05)
    assert stated(embodied_kg=164.0).embodied == device


@pytest.mark.parametrize(
    "wrong",
    [
        {"intensity": "0"},
        {"intensity": "-5"},
        {"intensity": "nan"},
        {"intensity": "inf"},
        {"pue": 0.9},
        {"pue": float("nan")},
        {"tuning": "-1"},
        {"tuning": "nan"},
        {"tuning": "run"},
        {"retrain_every": "0"},
        {"retrain_every": "inf"},
        {"retrain_every": "soon"},
        {"embodied_kg": float("nan")},
        {"embodied_kg": -1.0},
        {"embodied_kg": 1.0, "utilisation": 0.0},
        {"embodied_kg": 1.0, "utilisation": 1.1},
        {"embodied_kg": 1.0, "lifetime_years": 0.0},
        {"lifetime_years": 5.0},
        {"cold_starts": -1},
    ],
)
def test_what_cannot_be_is_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        stated(**wrong)
    assert "\n" not in str(refused.value)
