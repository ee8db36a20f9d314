"""What the user states of the life of the models: nothing of it is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ptprof.amortise.grids import WORLD, Grid, parse_intensity
from ptprof.errors import UsageError
from ptprof.records import JOULES_PER_KWH, Value

PUE = 1.0
"""Energy is measured at the machine; the site's overhead is the user's to state."""

LIFETIME_YEARS, UTILISATION = 5.0, 0.5
"""Of a device, where only its kilograms are given."""

LEAST, MOST = 1e-9, 1e18
"""Beyond, figures would leave what a float can hold."""

SECONDS_PER_YEAR = 365.25 * 86400
GRAMS_PER_KG = 1000.0


def grams_per_joule(intensity_g_per_kwh: float, pue: float) -> float:
    """Grams CO2eq of a joule; UsageError for an intensity or PUE that cannot be."""
    if not 0 < intensity_g_per_kwh <= MOST:
        raise UsageError(f"the carbon intensity must be above zero gCO2eq/kWh, not {intensity_g_per_kwh}")
    if not 1 <= pue <= MOST:
        raise UsageError(f"a site's PUE is at least 1, not {pue}")
    return intensity_g_per_kwh * pue / JOULES_PER_KWH


class Conversion(Value):
    """How joules become grams: ``grid`` says where an intensity that was not given as a number is from."""

    intensity_g_per_kwh: float = Field(gt=0)
    pue: float = Field(PUE, ge=1)
    grid: Grid | None = None

    @classmethod
    def of(cls, intensity: float | Grid, pue: float = PUE) -> Conversion:
        """From a number or a grid; UsageError for an intensity or PUE that cannot be."""
        grid = intensity if isinstance(intensity, Grid) else None
        number = intensity.intensity_g_per_kwh if isinstance(intensity, Grid) else intensity
        grams_per_joule(number, pue)
        return cls(intensity_g_per_kwh=number, pue=pue, grid=grid)

    @property
    def grams_per_joule(self) -> float:
        return grams_per_joule(self.intensity_g_per_kwh, self.pue)


class Embodied(Value):
    """What making the device emitted, and over how much work it is spread.

    A busy second bears ``kg / (lifetime · utilisation)`` of it.
    """

    kg: float = Field(ge=0, le=MOST)
    lifetime_years: float = Field(ge=LEAST, le=MOST)
    utilisation: float = Field(ge=LEAST, le=1)

    @property
    def grams_per_second(self) -> float:
        seconds = self.lifetime_years * SECONDS_PER_YEAR * self.utilisation
        return self.kg * GRAMS_PER_KG / seconds


class Assumptions(Value):
    """What the figures of a study are turned into costs with.

    ``data`` counts the generation of the training data, ``tuning`` what was trained beside: that many times
    the training, or the study's other runs of the model. ``cold_starts`` are the starts of a server over
    the whole life, ``retrain_every`` the queries after which a model is trained anew.
    """

    training: Conversion = Conversion.of(WORLD)
    serving: Conversion = Conversion.of(WORLD)
    data: bool = False
    tuning: Annotated[float, Field(ge=0, le=MOST)] | Literal["runs"] | None = None
    cold_starts: int = Field(0, ge=0, le=MOST)
    embodied: Embodied | None = None
    retrain_every: float | None = Field(None, ge=1, le=MOST)

    @classmethod
    def at(cls, intensity: float | Grid, pue: float = PUE) -> Assumptions:
        """One intensity and one PUE for training and serving, and nothing else."""
        conversion = Conversion.of(intensity, pue)
        return cls(training=conversion, serving=conversion)


USUAL = Assumptions()
"""The world's intensity, no overhead of the site, and nothing paid beside training and queries."""


def stated(
    *,
    intensity: str | None = None,
    pue: float | None = None,
    train_intensity: str | None = None,
    train_pue: float | None = None,
    serve_intensity: str | None = None,
    serve_pue: float | None = None,
    data: bool = False,
    tuning: str | None = None,
    cold_starts: int = 0,
    embodied_kg: float | None = None,
    lifetime_years: float | None = None,
    utilisation: float | None = None,
    retrain_every: str | None = None,
) -> Assumptions:
    """What a user states on the command line; what is not stated is left at what is usual.

    An intensity is a number or a grid, the world's where none is named; tuning a factor or ``runs``.

    Raises
    ------
    UsageError : a number that cannot be, an unknown grid, a lifetime of a device without its kilograms
    """
    conversions = [
        Conversion.of(
            parse_intensity(own_intensity or intensity or WORLD.code),
            next((value for value in (own_pue, pue) if value is not None), PUE),
        )
        for own_intensity, own_pue in ((train_intensity, train_pue), (serve_intensity, serve_pue))
    ]
    if embodied_kg is None and (lifetime_years is not None or utilisation is not None):
        raise UsageError(
            "an embodied share needs the kilograms that making the device emitted: --embodied-kg"
        )
    try:
        return Assumptions(
            training=conversions[0],
            serving=conversions[1],
            data=data,
            tuning=None
            if tuning is None
            else "runs"
            if tuning.strip() == "runs"
            else _number(tuning, "tuning"),
            cold_starts=cold_starts,
            embodied=None
            if embodied_kg is None
            else Embodied(
                kg=embodied_kg,
                lifetime_years=LIFETIME_YEARS if lifetime_years is None else lifetime_years,
                utilisation=UTILISATION if utilisation is None else utilisation,
            ),
            retrain_every=None if retrain_every is None else _number(retrain_every, "retrain-every"),
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"{name}: {first['msg'].lower()}, not {first['input']}") from None


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} takes a number, not {text!r}") from None
