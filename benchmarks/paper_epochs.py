"""What one epoch of the paper's recipe takes here, by `train --estimate`, beside the paper's Table 2.

The paper's grams were measured on an A40 by Carbontracker and most likely hold its PUE of 1.58, ours are of
the machine alone, at 445 gCO2eq/kWh: orders and ratios between models compare, absolute figures do not.
Windows are synthetic unless there is data.

    python benchmarks/paper_epochs.py --device cuda --json results/paper-epochs-gpu.json
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

from ptprof.profile.paper import TABLE2
from ptprof.progress import console, progress_bar
from ptprof.report.estimates import estimate_report, estimates
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.train.estimate import LIMIT_S, estimate
from ptprof.train.recipe import FORECASTERS, load_recipe


def papers() -> dict[str, float]:
    """Grams CO2eq of one epoch by Table 2."""
    with TABLE2.open(encoding="utf-8") as file:
        return {row["model"]: float(row["train_co2eq_per_epoch_g"]) for row in csv.DictReader(file)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="*", default=FORECASTERS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, help="The Well's shear_flow; synthetic windows otherwise")
    parser.add_argument("--estimate-time", type=float, default=LIMIT_S, help="seconds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device, recipe, theirs = resolve_device(options.device), load_recipe("paper"), papers()
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        how = {"device": device, "data": options.data, "limit_s": options.estimate_time}
        records = [
            estimate(Study(folder), model, recipe, epochs=1, progress=progress, **how)
            for model in options.models
        ]
    report = estimate_report(records)
    console().print(estimates(report))
    rows = []
    for found in report.models:
        ours, grams = found.per_epoch.co2eq_g, theirs.get(found.model)
        rows.append({"model": found.model, "paper_co2eq_per_epoch_g": grams})
        here = "no energy" if ours is None else f"{ours.value:.3g} g"
        print(f"{found.model}: {here} an epoch here, {grams} g in the paper")
    if options.json:
        document = {
            "machine": records[0].environment.model_dump(mode="json"),
            **report.model_dump(mode="json"),
            "paper": rows,
        }
        options.json.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
