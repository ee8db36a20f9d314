"""Spectral layers as matrix products against neuraloperator's own: one forward, one training step.

Both models have the same weights, run in one process under the same allocator setting, and take turns,
so that a noisy machine disturbs them alike; a ratio is the median over the rounds of the ratio within a
round. On a machine with other work the ratio of CPU seconds, with one thread, is the one to trust.

    python benchmarks/spectral.py --grid 64x128 --grid 256x512 --json results/spectral.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ptprof.environment import environment
from ptprof.runtimes.allocator import keep_memory
from ptprof.train.models import build
from ptprof.train.recipe import load_recipe

MODELS = ("fno", "tfno", "ufno")


def forward(model: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """One step of inference."""

    def query() -> torch.Tensor:
        with torch.inference_mode():
            return model.eval()(x)

    return query


def training_step(model: nn.Module, x: torch.Tensor, target: torch.Tensor) -> Callable[[], Any]:
    """One step of training: forward, mean squared error, backward, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        nn.functional.mse_loss(model(x), target).backward()
        optimizer.step()

    return step


def compare(
    stock: Callable[[], Any], lowered: Callable[[], Any], rounds: int, device: str
) -> dict[str, float]:
    """Wall and CPU seconds of each and their ratios, taken in turns after one warm-up each."""

    def seconds(run: Callable[[], Any]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - wall, time.process_time() - cpu

    seconds(stock), seconds(lowered)
    pairs = [(seconds(stock), seconds(lowered)) for _ in range(rounds)]
    result = {}
    for index, clock in enumerate(("wall", "cpu")):
        ours, theirs = ([pair[side][index] for pair in pairs] for side in (1, 0))
        result[f"stock_{clock}_s"] = statistics.median(theirs)
        result[f"lowered_{clock}_s"] = statistics.median(ours)
        result[f"{clock}_ratio"] = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
    return result


def measure(name: str, grid: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Both comparisons for one model on one grid."""
    recipe = load_recipe(options.recipe)
    stock, lowered = (build(name, recipe, spectral).to(options.device) for spectral in ("fft", "gemm"))
    lowered.load_state_dict(stock.state_dict())
    x = torch.randn(options.batch, recipe.history * 4, *grid, device=options.device)
    target = torch.randn(options.batch, 4, *grid, device=options.device)
    result: dict[str, Any] = {"model": name, "grid": list(grid), "batch": options.batch}
    with torch.no_grad():
        difference = torch.linalg.vector_norm(lowered(x) - stock(x)) / torch.linalg.vector_norm(stock(x))
    result["relative_l2"] = float(difference)
    result["forward"] = compare(forward(stock, x), forward(lowered, x), options.rounds, options.device)
    result["training_step"] = compare(
        training_step(stock, x, target), training_step(lowered, x, target), options.rounds, options.device
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", choices=MODELS, help="default: all three")
    parser.add_argument("--grid", action="append", help="XxY, several allowed; default 64x128 and 256x512")
    parser.add_argument("--recipe", default="paper", help="whose widths (default: paper)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--allocator", choices=("kept", "default"), default="kept")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    kept = options.allocator == "kept" and keep_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    results = []
    print(f"{'model':6}{'grid':>10}{'':>10}{'stock':>11}{'lowered':>11}{'ratio':>8}{'of CPU':>8}")
    for text in options.grid or ["64x128", "256x512"]:
        X, Y = (int(n) for n in text.split("x"))
        for name in options.model or MODELS:
            results.append(measure(name, (X, Y), options))
            for what in ("forward", "training_step"):
                r = results[-1][what]
                print(
                    f"{name:6}{text:>10}{what.split('_')[0]:>10}{r['stock_wall_s'] * 1e3:8.1f} ms"
                    f"{r['lowered_wall_s'] * 1e3:8.1f} ms{r['wall_ratio']:8.2f}{r['cpu_ratio']:8.2f}"
                )
                sys.stdout.flush()
    if options.json:
        document = {
            "what": "neuraloperator 2.0.0 against ptprof's lowered spectral layers, same weights, in turns",
            "recipe": options.recipe,
            "threads": options.threads,
            "allocator": "kept" if kept else "default",
            "rounds": options.rounds,
            "results": results,
            "environment": environment().model_dump(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
