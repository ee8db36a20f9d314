"""What an answer cost: the joules of its share of the machine, and what was emitted for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptprof.amortise.amortising import INTENSITY_G_PER_KWH, PUE
from ptprof.energy import add
from ptprof.errors import UsageError
from ptprof.records import JOULES_PER_KWH, EnergyBreakdown, Source


@dataclass(frozen=True)
class Cost:
    """Energy (J, with its 95 % interval) and emissions (gCO2eq); None where ``missing`` says why."""

    energy_j: float | None = None
    low_j: float | None = None
    high_j: float | None = None
    co2eq_g: float | None = None
    source: Source | None = None
    components: tuple[str, ...] = ()
    missing: str | None = None

    def headers(self) -> dict[str, str]:
        """For every client; none where it is not known."""
        if self.energy_j is None or self.co2eq_g is None:
            return {}
        return {
            "ptprof-energy-j": f"{self.energy_j:.6g}",
            "ptprof-co2eq-g": f"{self.co2eq_g:.6g}",
            "ptprof-energy-source": f"{self.source}; {'+'.join(self.components)}",
        }

    def parameters(self) -> dict[str, str | float]:
        """As the protocol's response parameters."""
        if self.energy_j is None:
            return {"energy_missing": self.missing or "not metered"}
        figures = {
            "energy_j": self.energy_j,
            "energy_low_j": self.low_j,
            "energy_high_j": self.high_j,
            "co2eq_g": self.co2eq_g,
            "energy_source": self.source,
            "energy_components": "+".join(self.components),
        }
        return {name: value for name, value in figures.items() if value is not None}


@dataclass(frozen=True)
class Price:
    """What a joule emits: grams of CO2 equivalent per kWh of the grid, and the site's overhead."""

    intensity_g_per_kwh: float = INTENSITY_G_PER_KWH
    pue: float = PUE

    def __post_init__(self) -> None:
        if not 0 < self.intensity_g_per_kwh < math.inf:
            raise UsageError(
                f"the carbon intensity must be above zero gCO2eq/kWh, not {self.intensity_g_per_kwh}"
            )
        if not 1 <= self.pue < math.inf:
            raise UsageError(f"a site's PUE is at least 1, not {self.pue}")

    def grams(self, joules: float) -> float:
        return joules / JOULES_PER_KWH * self.intensity_g_per_kwh * self.pue

    def cost(self, energy: EnergyBreakdown, device: str) -> Cost:
        """The cost on ``device``, whose own energy must be known: a part is not the whole."""
        needed = "cpu" if device == "cpu" else "gpu"
        present = energy.present
        if needed not in present:
            return Cost(missing=energy.missing.get(needed, "not metered"))
        total = add(present.values())
        return Cost(
            energy_j=total.joules,
            low_j=total.low,
            high_j=total.high,
            co2eq_g=self.grams(total.joules),
            source=total.source,
            components=tuple(present),
        )
