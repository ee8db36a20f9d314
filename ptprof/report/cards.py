"""A run's training as Hugging Face's model-card metadata: ``co2_eq_emissions`` of the YAML front matter.

The keys are the Hub's, https://huggingface.co/docs/hub/model-cards-co2: ``emissions`` in grams, ``source``,
``training_type``, ``geographical_location``, ``hardware_used``. What is not known is left out.
"""

from __future__ import annotations

from typing import Any

import yaml

from ptprof import __version__
from ptprof.amortise.assumptions import Conversion
from ptprof.records import PinnRecord, RunRecord
from ptprof.report.cost_charts import of_energy
from ptprof.report.format import energy, interval, seconds

PAPER = "arXiv:2509.24517"


def card(run: RunRecord | PinnRecord, conversion: Conversion, location: str | None = None) -> str | None:
    """The head of a ``README.md`` for the Hub, and its figures in words; None where no energy is known."""
    grams = of_energy(run.energy, conversion.grams_per_joule)
    if grams is None:
        return None
    at = f"{conversion.intensity_g_per_kwh:g} gCO2eq/kWh"
    if conversion.grid is not None:
        at += f" ({conversion.grid.name}, {conversion.grid.year}, {conversion.grid.source})"
    at += f", PUE {conversion.pue:g}"
    sources = ", ".join(f"{component} {e.source}" for component, e in run.energy.present.items())
    emissions: dict[str, Any] = {
        "emissions": float(f"{grams.value:.6g}"),
        "source": f"ptprof {__version__}: energy {sources}; {at}",
        "training_type": "pre-training",
        **({"geographical_location": " ".join(location.split())} if location else {}),
        "hardware_used": hardware(run),
    }
    front = yaml.safe_dump({"co2_eq_emissions": emissions}, sort_keys=False, allow_unicode=True, width=1000)
    words = (
        f"`{run.run}` was trained in {seconds(run.duration_s)} on {hardware(run)}, with {energy(run.energy)}"
        f" ({sources}): {interval(grams, 'gCO2eq')} at {at}; ± is 95 %. The method is that of {PAPER}."
    )
    return f"---\n{front}---\n\n## Carbon footprint of training\n\n{words}\n"


def hardware(run: RunRecord | PinnRecord) -> str:
    """What it was trained on: the board, or the processor and its cores."""
    here = run.environment
    kind, _, index = run.device.partition(":")
    if kind == "cuda" and here.gpus:
        number = int(index or 0)
        return here.gpus[number] if number < len(here.gpus) else here.gpus[0]
    return f"{' '.join(here.cpu.split())}, {here.cpu_cores} cores"
