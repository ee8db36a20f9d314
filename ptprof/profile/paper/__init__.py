"""Figures of arXiv:2509.24517v2 ("Physics Priors Offer Useful Accuracy-Carbon Trade-Offs in
Spatio-Temporal Forecasting"), as tables that `ptprof amortise --table` reads."""

from __future__ import annotations

import csv
from pathlib import Path

#: Table 2, measured on an A40: training, and one-step inference over 4,704 samples, three repetitions.
TABLE2 = Path(__file__).with_name("table2.csv")
#: Table 3 and what section 3 says of priors and learning rates.
TABLE3 = Path(__file__).with_name("table3.csv")

SOURCE = "arXiv:2509.24517v2, Table 2, one A40"


def inference_g() -> dict[str, float]:
    """Table 2's grams CO2eq of a one-step query, by model: those of the test set over its 4,704 queries."""
    rows = csv.DictReader(TABLE2.read_text(encoding="utf-8").splitlines())
    return {
        row["model"]: float(row["inference_co2eq_g_mean"]) / int(row["inference_queries"]) for row in rows
    }
