"""The solver's fields against those of Dedalus 3.0.5, a peer that shares no line with it.

dedalus_shear_flow.npz, every second point of each side in float64, is what this printed with Dedalus:

    python benchmarks/dedalus_shear_flow.py --scheme RK443 --steps 2000 --times 0 1 2 --every 2 --out …

Its own error in time, by halving the step, is below 1e-9 of each field's norm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ptprof.train.data.shear_flow import FIELDS, simulate

REFERENCE = Path(__file__).with_name("dedalus_shear_flow.npz")
GRID, EVERY = (64, 128), 2


def test_fields_are_those_of_dedalus() -> None:
    with np.load(REFERENCE) as reference:
        times, expected = reference["times"], reference["fields"]
    flow = {"reynolds": 500.0, "schmidt": 1.0, "n_shear": 2, "n_blobs": 2, "width": 1.0}
    found = simulate(GRID, times.tolist(), **flow).numpy()[..., ::EVERY, ::EVERY]
    assert found.shape == expected.shape
    for t, ours, theirs in zip(times, found, expected, strict=True):
        for name, field, reference in zip(FIELDS, ours, theirs, strict=True):
            error = np.linalg.norm(field - reference) / np.linalg.norm(reference)
            # At time 0 nothing has been integrated: sampling, projection and pressure must agree.
            assert error < (1e-13 if t == 0 else 2e-8), f"{name} at t = {t:g}"
