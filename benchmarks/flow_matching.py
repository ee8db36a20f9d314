"""A step of flow matching at several numbers of evaluations against a step of UNet-CP, whose network it has.

All take turns in one process, so that a noisy machine disturbs them alike; a ratio is the median over the
rounds of the ratio within a round, and `wall_per_evaluation` is what one evaluation costs in steps of
UNet-CP. Beside it stand the ratio of counted operations, and the share of a query that drawing its noise
takes. With a study whose flow matching is trained, the error after one step and at the end of a rollout
stands beside the cost.

    python benchmarks/flow_matching.py --recipe paper --json results/flow_matching.json
    python benchmarks/flow_matching.py --study study --json results/flow_matching.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ptprof.environment import environment
from ptprof.export import DeployableStep
from ptprof.export.exporter import WRITERS
from ptprof.records import Accuracy, Statistics
from ptprof.runtimes import Runner, open_runner
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.noise import draw
from ptprof.study import Study
from ptprof.train import load
from ptprof.train.data import Windows
from ptprof.train.evaluate import accuracy
from ptprof.train.forecaster import forecaster
from ptprof.train.models import build
from ptprof.train.models.flow_matching import FlowMatching, sampled_by
from ptprof.train.recipe import Recipe, load_recipe

FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
STATISTICS = Statistics(fields=FIELDS, mean=(0.0,) * 4, std=(1.0,) * 4)
FILES = {"onnxruntime": "onnx", "torchscript": "torchscript"}


def step_of(name: str, recipe: Recipe, grid: tuple[int, int], nfe: int | None = None) -> DeployableStep:
    """The deployable step of a model with random weights."""
    torch.manual_seed(0)
    module = build(name, recipe)
    if nfe is not None:
        sampled_by(module, nfe)
    return DeployableStep(module.eval(), STATISTICS, recipe.history, grid).eval()


def opened(step: DeployableStep, runtime: str, device: str, threads: int, folder: Path) -> Runner:
    """A runner of ``step``, through a file where the runtime takes one."""
    if runtime == "eager":
        return open_runner(runtime, step, device=device, threads=threads)
    assert step.state_shape is not None
    history, _, *grid = step.state_shape
    metadata = Metadata(
        model="benchmark",
        run="benchmark",
        recipe="benchmark",
        grid=(grid[0], grid[1]),
        history=history,
        fields=FIELDS,
        units=dict.fromkeys(FIELDS, "1"),
        statistics=STATISTICS,
        checkpoint_sha256="",
        nfe=step.nfe,
        versions={},
    )
    path = folder / "model"
    WRITERS["onnx" if runtime == "onnxruntime" else "torchscript"](step, metadata, path)
    return open_runner(runtime, path, device=device, threads=threads)


def operations(step: DeployableStep) -> int:
    """Floating-point operations of one step of one state, as torch counts them."""
    assert step.state_shape is not None
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        step(*(value[:1] for value in step.example(step.state_shape)))
    return int(counter.get_total_flops())


def in_turns(
    calls: Sequence[Callable[[], Any]], rounds: int, wait: Callable[[], None]
) -> list[list[tuple[float, float]]]:
    """Wall and CPU seconds of each call, in turns, ``rounds`` times after one to warm up."""
    seconds: list[list[tuple[float, float]]] = [[] for _ in calls]
    for turn in range(rounds + 1):
        for taken, call in zip(seconds, calls, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            wait()
            if turn:
                taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return seconds


def measure(
    runtime: str, recipe: Recipe, grid: tuple[int, int], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row for UNet-CP, then one for each number of evaluations."""
    counts: list[int | None] = [None, *options.nfe]
    state = torch.randn(options.batch, recipe.history, 4, *grid).to(options.device)
    with tempfile.TemporaryDirectory() as folder:
        steps = [step_of("unet-cp" if nfe is None else "flow-matching", recipe, grid, nfe) for nfe in counts]
        flops = [operations(step) for step in steps]
        runners = [opened(step, runtime, options.device, options.threads, Path(folder)) for step in steps]
    draw_noise = [lambda: draw(0, options.batch, 4, *grid).to(options.device)]
    queries = [runner.bind(state) for runner in runners]
    taken = in_turns([*queries, *draw_noise], options.rounds, runners[0].synchronize)
    rows = []
    for nfe, seconds, count in zip(counts, taken, flops, strict=False):
        ratios = [[a[clock] / b[clock] for a, b in zip(seconds, taken[0], strict=True)] for clock in (0, 1)]
        share = statistics.median(a[0] / b[0] for a, b in zip(taken[-1], seconds, strict=True))
        row: dict[str, Any] = {
            "runtime": runtime,
            "model": "unet-cp" if nfe is None else "flow-matching",
            "nfe": nfe,
            "wall_s": statistics.median(wall for wall, _ in seconds),
            "cpu_s": statistics.median(cpu for _, cpu in seconds),
            "wall_ratio": statistics.median(ratios[0]),
            "cpu_ratio": statistics.median(ratios[1]),
            "operations_ratio": count / flops[0],
        }
        if nfe is not None:
            row["wall_per_evaluation"] = row["wall_ratio"] / nfe
            row["noise_share"] = share
        rows.append(row)
    return rows


def errors(study: Study, counts: Sequence[int], device: str) -> list[dict[str, Any]]:
    """VRMSE of the newest flow matching, mean over fields: one step, and the end of the recipe's rollout."""
    run = study.run("flow-matching")
    recipe = load_recipe(run.recipe)
    windows = Windows(study.data, "test", run.history)
    module = load(study, run).to(device)
    assert isinstance(module, FlowMatching)
    rows = []
    for nfe in counts:
        scored: Accuracy = accuracy(
            forecaster(sampled_by(module, nfe)),
            windows,
            rollout_steps=recipe.rollout_steps,
            batch=recipe.batch,
            device=device,
        )
        first, last = (
            fmean(v for v in scores.vrmse.values() if v is not None)
            for scores in (scored.one_step, scored.rollout[-1])
        )
        rows.append({"nfe": nfe, "vrmse": first, "rollout_steps": len(scored.rollout), "rollout_vrmse": last})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nfe", type=int, action="append", help="several allowed; default 2, 4, 8 and 16")
    parser.add_argument("--runtime", action="append", choices=("eager", *FILES), help="default: all three")
    parser.add_argument("--recipe", default="quick", help="whose widths (default: quick)")
    parser.add_argument("--grid", help="XxY; the recipe's otherwise")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--study", type=Path, help="whose trained flow matching to score")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    options.nfe = options.nfe or [2, 4, 8, 16]
    recipe = load_recipe(options.recipe)
    grid = recipe.grid
    if options.grid:
        X, Y = (int(n) for n in options.grid.split("x"))
        grid = (X, Y)

    print(f"{'runtime':12}{'model':>14}{'nfe':>5}{'a step':>12}{'× UNet-CP':>11}{'of CPU':>8}{'counted':>9}")
    results = []
    for runtime in options.runtime or ("eager", *FILES):
        for row in measure(runtime, recipe, grid, options):
            results.append(row)
            print(
                f"{runtime:12}{row['model']:>14}{row['nfe'] or '':>5}{row['wall_s'] * 1e3:9.1f} ms"
                f"{row['wall_ratio']:11.2f}{row['cpu_ratio']:8.2f}{row['operations_ratio']:9.2f}"
            )
            sys.stdout.flush()
    scored = errors(Study(options.study), options.nfe, options.device) if options.study else []
    for row in scored:
        lead = row["rollout_steps"]
        print(f"nfe {row['nfe']:2}: vrmse {row['vrmse']:.4f}, after {lead} steps {row['rollout_vrmse']:.4f}")
    if options.json:
        document = {
            "what": "a step of flow matching against a step of UNet-CP, in turns, noise drawn in every query",
            "recipe": options.recipe,
            "grid": list(grid),
            "batch": options.batch,
            "device": options.device,
            "threads": options.threads,
            "rounds": options.rounds,
            "results": results,
            "errors": scored,
            "environment": environment().model_dump(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
