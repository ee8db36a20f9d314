"""The carbon intensity of electricity: a number that the user gives, or a grid of a small table.

``grids.csv`` holds averages of countries over a year, rounded to whole grams, as Carbontracker ships them. It
names no source; its columns are those of Our World in Data, whose figures are Ember's and count lifecycle
emissions. The figure of the world counts direct ones: compare countries with countries.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from ptprof.errors import UsageError, unknown
from ptprof.records import Value


class Grid(Value):
    """A named grid: what a kilowatt-hour emitted on average in a year, by what count, and who says so."""

    code: str
    name: str
    intensity_g_per_kwh: float
    year: int
    kind: str
    source: str


WORLD = Grid(
    code="WORLD",
    name="World",
    intensity_g_per_kwh=445.0,
    year=2024,
    kind="average, direct",
    source="IEA, Electricity 2025",
)
INTENSITY_G_PER_KWH = WORLD.intensity_g_per_kwh


@cache
def grids() -> dict[str, Grid]:
    """The grids that are known, by their codes: WORLD, and countries by ISO 3166-1 alpha-2."""
    table = resources.files("ptprof.amortise").joinpath("grids.csv").read_text(encoding="utf-8")
    countries = map(Grid.model_validate, csv.DictReader(table.splitlines()))
    return {grid.code: grid for grid in (WORLD, *countries)}


def parse_intensity(text: str) -> float | Grid:
    """A carbon intensity as a user writes it: gCO2eq/kWh, or the code of a grid such as ``DK``.

    Raises
    ------
    UsageError : neither
    """
    try:
        return float(text)
    except ValueError:
        pass
    code = text.strip().upper()
    if not code.isalpha():
        raise UsageError(f"a carbon intensity is a number of gCO2eq/kWh or a grid such as DK, not {text!r}")
    if code not in grids():
        raise unknown("grid", text, grids())
    return grids()[code]
