"""Trainings as CodeCarbon's ``emissions.csv``, for what reads that: kWh, kgCO2eq, a row for each run.

The columns are those of codecarbon 3.3's ``EmissionsData``, in its order. What ptprof does not know is empty,
and nothing is filled in for it: place, cloud, water, power and utilisation.
"""

from __future__ import annotations

from collections.abc import Sequence

from ptprof.amortise.assumptions import Conversion
from ptprof.records import JOULES_PER_KWH, PinnRecord, RunRecord
from ptprof.report.charts import table_csv
from ptprof.report.cost_charts import of_energy

COLUMNS = (
    "timestamp",
    "project_name",
    "run_id",
    "experiment_id",
    "duration",
    "emissions",
    "emissions_rate",
    "cpu_power",
    "gpu_power",
    "ram_power",
    "cpu_energy",
    "gpu_energy",
    "ram_energy",
    "energy_consumed",
    "water_consumed",
    "country_name",
    "country_iso_code",
    "region",
    "cloud_provider",
    "cloud_region",
    "os",
    "python_version",
    "codecarbon_version",
    "cpu_count",
    "cpu_model",
    "gpu_count",
    "gpu_model",
    "longitude",
    "latitude",
    "ram_total_size",
    "tracking_mode",
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "on_cloud",
    "pue",
    "wue",
)


def emissions_csv(runs: Sequence[RunRecord | PinnRecord], conversion: Conversion) -> str:
    """One row for each run whose energy is known; energies are without PUE, emissions with it."""
    rows = []
    for run in runs:
        grams = of_energy(run.energy, conversion.grams_per_joule)
        if grams is None:
            continue
        kilograms, here = grams.value / 1000, run.environment
        known: dict[str, object] = {
            "timestamp": run.created.partition("+")[0],
            "project_name": "ptprof",
            "run_id": run.run,
            "experiment_id": f"{run.model}-{run.recipe}",
            "duration": run.duration_s,
            "emissions": kilograms,
            "emissions_rate": kilograms / run.duration_s if run.duration_s else "",
            **{
                f"{column}_energy": found.joules / JOULES_PER_KWH
                for column, found in (
                    ("cpu", run.energy.cpu),
                    ("gpu", run.energy.gpu),
                    ("ram", run.energy.dram),
                )
                if found is not None
            },
            "energy_consumed": (run.energy.joules or 0.0) / JOULES_PER_KWH,
            "os": here.platform,
            "python_version": here.python,
            "cpu_count": here.cpu_cores,
            "cpu_model": here.cpu,
            "gpu_count": len(here.gpus) or "",
            "gpu_model": " | ".join(here.gpus),
            "ram_total_size": here.memory_bytes / 2**30,
            "tracking_mode": "process" if run.device == "cpu" else "machine",
            "pue": conversion.pue,
        }
        rows.append([known.get(column, "") for column in COLUMNS])
    return table_csv(COLUMNS, rows)
