"""Figures of arXiv:2509.24517v2 ("Physics Priors Offer Useful Accuracy-Carbon Trade-Offs in
Spatio-Temporal Forecasting"), as tables that `ptprof amortise --table` reads."""

from __future__ import annotations

from pathlib import Path

#: Table 2, measured on an A40: training, and one-step inference over 4,704 samples, three repetitions.
TABLE2 = Path(__file__).with_name("table2.csv")
