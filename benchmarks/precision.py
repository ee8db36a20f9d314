"""What precision, layout, compilation and accumulation do to a training: its accuracy, its time, its joules.

One model is trained from the same seed with each flag by itself, and scored in full precision each time.
Beside the plain training stand those of other seeds, which say how far two trainings differ anyway: a flag
that moves the error by less than a seed does changes nothing that matters.

    python benchmarks/precision.py --model fno --model unet-cn-cp --json results/precision-cpu.json
    python benchmarks/precision.py --device cuda --recipe paper --data WELL --epochs 2
        --json results/precision-gpu.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from ptprof.environment import environment
from ptprof.records import Execution, RunRecord, Scores
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study
from ptprof.train import data, train
from ptprof.train.recipe import Recipe, load_recipe

FLAGS = {
    "plain": Execution(),
    "tf32": Execution(precision="tf32"),
    "bf16": Execution(precision="bf16"),
    "channels-first": Execution(channels_last=False),
    "compile": Execution(compiled=True),
    "accumulate-2": Execution(accumulate=2),
}
LEADS = (1, 10)


class Stopwatch(Progress):
    """Notes when each step of a training ended."""

    def __init__(self) -> None:
        super().__init__(disable=True)
        self.ends: list[tuple[float, float]] = []

    def update(self, *args: Any, completed: float | None = None, **changes: Any) -> None:
        if completed is not None:
            self.ends.append((completed, time.perf_counter()))
        super().update(*args, completed=completed, **changes)

    def step_s(self, per_epoch: int) -> float:
        """The median time of a step, reading its batch included; steps after a validation do not count."""
        pairs = zip(self.ends, self.ends[1:], strict=False)
        return statistics.median(b - a for (before, a), (_, b) in pairs if before % per_epoch)


def vrmse(scores: Scores) -> float | None:
    """The mean over the fields; None where one of them has diverged."""
    values = list(scores.vrmse.values())
    return None if None in values else statistics.fmean(v for v in values if v is not None)


def measure(
    study: Study, model: str, recipe: Recipe, execution: Execution, seed: int, folder: Path, device: str
) -> dict[str, Any]:
    """One training, and what came of it."""
    watch = Stopwatch()
    run: RunRecord = train(
        study, model, recipe, seed=seed, device=device, execution=execution, data=folder, progress=watch
    )
    rollout = run.accuracy.rollout
    return {
        "vrmse": {n: vrmse(rollout[n - 1]) if len(rollout) >= n else None for n in LEADS},
        "valid_loss": run.best_valid_loss,
        "step_s": watch.step_s(run.steps // run.epochs),
        "epoch_s": run.duration_s / run.epochs,
        "epoch_joules": None if run.energy.joules is None else run.energy.joules / run.epochs,
        "energy_source": {c: e.source for c, e in run.energy.present.items()},
    }


def compared(
    model: str, recipe: Recipe, options: argparse.Namespace, device: str, folder: Path
) -> dict[str, Any]:
    """All flags of one model on the first seed, and the plain training on all seeds."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.flag or FLAGS:
            if name == "tf32" and device == "cpu":
                continue
            seeds = options.seed if name == "plain" else options.seed[:1]
            for seed in seeds:
                key = name if seed == options.seed[0] else f"{name}, seed {seed}"
                study = Study(Path(scratch) / key.replace(", ", "-").replace(" ", ""))
                results[key] = measure(study, model, recipe, FLAGS[name], seed, folder, device)
                line(model, key, results[key], results["plain"])
    return results


def line(model: str, key: str, result: dict[str, Any], plain: dict[str, Any]) -> None:
    """One result, beside the plain one."""
    errors = "".join("  diverged" if v is None else f"{v:10.4f}" for v in result["vrmse"].values())
    print(
        f"{model:14}{key:18}{errors}{result['step_s'] * 1e3:10.1f} ms"
        f"{plain['step_s'] / result['step_s']:8.2f}"
    )
    sys.stdout.flush()


def flags(names: Sequence[str] | None) -> list[str] | None:
    """The flags to try, the plain training first."""
    return None if names is None else ["plain", *(n for n in names if n != "plain")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", help="several allowed; default: fno and unet-cn-cp")
    parser.add_argument("--flag", action="append", choices=list(FLAGS), help="default: all")
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--data", type=Path, help="The Well's layout; simulated for recipe quick otherwise")
    parser.add_argument("--epochs", type=int, help="the recipe's otherwise")
    parser.add_argument("--steps", type=int, help="per epoch; the recipe's otherwise")
    parser.add_argument("--seed", type=int, action="append", help="several allowed; default: 0, 1 and 2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    options.seed = options.seed or [0, 1, 2]
    options.flag = flags(options.flag)
    device = resolve_device(options.device)
    recipe = load_recipe(options.recipe)
    changes = {"max_epochs": options.epochs, "steps_per_epoch": options.steps}
    recipe = recipe.model_copy(update={k: v for k, v in changes.items() if v is not None})

    gpus = () if device == "cpu" else (torch.cuda.get_device_name(device),)
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.data or Path(scratch) / "shear_flow"
        if options.data is None:
            data.generate(folder, recipe, device=device)
        print(
            f"{'model':14}{'flag':18}"
            + "".join(f"{f'VRMSE {n}':>10}" for n in LEADS)
            + f"{'step':>13}{'faster':>8}"
        )
        for model in options.model or ["fno", "unet-cn-cp"]:
            results[model] = compared(model, recipe, options, device, folder)
    if options.json:
        document = {
            "what": "a training with each flag from one seed; VRMSE, mean over fields, after 1 and 10 steps",
            "recipe": options.recipe,
            "epochs": recipe.max_epochs,
            "steps_per_epoch": recipe.steps_per_epoch,
            "device": device,
            "seeds": options.seed,
            "results": results,
            "environment": environment(gpus=gpus).model_dump(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
