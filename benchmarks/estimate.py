"""How near an estimate comes: trainings projected from some steps, then made to the end, on the same data.

Each model is first estimated and then trained; the projection is that of as many epochs as the training
took. The gain of the sensor, or of the CPU's model, is the same in both and cancels: what is compared is
the error of the projection against its random half-width alone, at 95 %.

    python benchmarks/estimate.py --json results/estimate-cpu.json
    python benchmarks/estimate.py fno unet --device cuda --recipe paper --data WELL --epochs 2
        --json results/estimate-gpu.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from ptprof.energy.combine import random_error
from ptprof.environment import environment
from ptprof.progress import progress_bar
from ptprof.records import COMPONENTS, EstimateRecord, RunRecord
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.train import data, train
from ptprof.train.estimate import LIMIT_S, estimate
from ptprof.train.recipe import FORECASTERS, Recipe, load_recipe


def compared(projected: float, half_width: float, paid: float) -> dict[str, float | bool]:
    """Projected against paid, both relative to what was paid."""
    error = projected / paid - 1
    return {
        "paid": paid,
        "projected": projected,
        "error": error,
        "half_width": half_width / paid,
        "inside": abs(error) <= half_width / paid,
    }


def comparison(record: EstimateRecord, run: RunRecord) -> dict[str, Any]:
    """One model: seconds, and the joules of every component that both have."""
    duration = record.duration_interval_s
    assert duration.high is not None
    found = {
        "model": run.model,
        "epochs": run.epochs,
        "steps": record.sampled_steps,
        "sampled_s": record.sampled_s,
        "share_of_training": record.sampled_s / run.duration_s,
        "known_to": record.half_width,
        "unmet": record.unmet,
        "seconds": compared(duration.value, duration.high - duration.value, run.duration_s),
    }
    for component in COMPONENTS:
        ours, theirs = record.energy.present.get(component), run.energy.present.get(component)
        if ours is not None and theirs is not None:
            found[f"{component}_joules"] = compared(ours.joules, random_error(ours), theirs.joules)
    return found


def compare(study: Study, model: str, recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """Estimate, train, and project to the epochs that the training took."""
    folder = options.data or study.data
    with progress_bar() as progress:
        how: dict[str, Any] = {"data": folder, "device": options.device, "progress": progress}
        estimate(study, model, recipe, limit_s=options.estimate_time, **how)
        run = train(study, model, recipe, **how)
        record = estimate(study, model, recipe, limit_s=options.estimate_time, epochs=run.epochs, **how)
    return comparison(record, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="*", default=FORECASTERS)
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--epochs", type=int, help="train for so many at most; the recipe's otherwise")
    parser.add_argument("--estimate-time", type=float, default=LIMIT_S, help="seconds")
    parser.add_argument("--data", type=Path, help="The Well's layout; simulated for recipe quick otherwise")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    recipe = load_recipe(options.recipe)
    if options.epochs:
        recipe = recipe.model_copy(update={"max_epochs": options.epochs})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        study = Study(folder)
        if options.data is None:
            data.generate(study.data, recipe, device=options.device)
        for model in options.models:
            rows.append(compare(study, model, recipe, options))
            row = rows[-1]
            print(f"{model}: {row['steps']} steps in {row['sampled_s']:.1f} s for {row['epochs']} epochs")
            for what, found in row.items():
                if isinstance(found, dict):
                    verdict = "inside" if found["inside"] else "OUTSIDE"
                    print(
                        f"  {what}: projected {found['projected']:.4g}, paid {found['paid']:.4g}, error"
                        f" {found['error']:+.1%}, {verdict} ± {found['half_width']:.1%}"
                    )
    if options.json:
        document = {"machine": environment().model_dump(mode="json"), "recipe": recipe.name, "models": rows}
        options.json.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
