"""Spectral layers as matrix products against neuraloperator 2.0.0's own, with the same weights, two ways.

alike: both in one process, under the same allocator setting, in turns. `forward` is one step of inference,
`backward` a forward and a backward pass, `training_step` that and a step of AdamW: torch's for
neuraloperator, ptprof's own for the lowered layers.

as run: each in a process of its own, neuraloperator as its users find it, ours as ptprof runs it: with the
allocator told to keep its memory, and threads that wait briefly. The processes take turns too.

A ratio is the median over the rounds of the ratio within a round. On a machine with other work the ratio
of CPU seconds, with one thread, is the one to trust.

    python benchmarks/spectral.py --grid 64x128 --grid 256x512 --json results/spectral.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ptprof.environment import environment
from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.threads import CHOICES, spin_briefly
from ptprof.train.models import build
from ptprof.train.optimizer import AdamW
from ptprof.train.recipe import Recipe, load_recipe

MODELS = ("fno", "tfno", "ufno")
SIDES = {"stock": "fft", "lowered": "gemm"}
WEIGHT_DECAY = 1e-4

Query = Callable[[], Any]
Seconds = tuple[float, float]


def recipe(options: argparse.Namespace) -> Recipe:
    """The recipe whose widths are compared; the networks by themselves, as neuraloperator has them."""
    return load_recipe(options.recipe).model_copy(update={"predict": "state"})


def model(name: str, side: str, options: argparse.Namespace) -> nn.Module:
    """The same weights on either side."""
    torch.manual_seed(0)
    return build(name, recipe(options), SIDES[side]).to(options.device)


def queries(name: str, side: str, grid: tuple[int, int], options: argparse.Namespace) -> dict[str, Query]:
    """What is timed, by name."""
    network = model(name, side, options)
    x = torch.randn(options.batch, recipe(options).history * 4, *grid, device=options.device)
    target = torch.randn(options.batch, 4, *grid, device=options.device)
    settings: dict[str, Any] = {"lr": 1e-4, "weight_decay": WEIGHT_DECAY}
    kind = torch.optim.AdamW if side == "stock" else AdamW
    optimizer: torch.optim.Optimizer = kind(network.parameters(), **settings)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return network.eval()(x)

    def backward() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        nn.functional.mse_loss(network(x), target).backward()

    def training_step() -> None:
        backward()
        optimizer.step()

    return {"forward": forward, "backward": backward, "training_step": training_step}


def seconds(query: Query, device: str) -> Seconds:
    """Wall and CPU seconds of one query."""
    wall, cpu = time.perf_counter(), time.process_time()
    query()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def compared(stock: Callable[[], Seconds], lowered: Callable[[], Seconds], rounds: int) -> dict[str, float]:
    """Wall and CPU seconds of each and their ratios, taken in turns after one warm-up each."""
    stock(), lowered()
    pairs = [(stock(), lowered()) for _ in range(rounds)]
    result = {}
    for index, clock in enumerate(("wall", "cpu")):
        theirs, ours = ([pair[side][index] for pair in pairs] for side in (0, 1))
        result[f"stock_{clock}_s"] = statistics.median(theirs)
        result[f"lowered_{clock}_s"] = statistics.median(ours)
        result[f"{clock}_ratio"] = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
    return result


def alike(name: str, grid: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Both in this process."""
    stock, lowered = (queries(name, side, grid, options) for side in SIDES)
    return {
        what: compared(
            lambda query=stock[what]: seconds(query, options.device),
            lambda query=lowered[what]: seconds(query, options.device),
            options.rounds,
        )
        for what in stock
    }


def as_run(name: str, grid: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Each in a process of its own."""
    as_found = {key: value for key, value in os.environ.items() if key not in CHOICES}
    briefly = dict(as_found)
    spin_briefly(briefly)
    with ExitStack() as stack:
        stock = stack.enter_context(_process("stock", name, grid, options, as_found))
        lowered = stack.enter_context(_process("lowered", name, grid, options, briefly))
        return {
            what: compared(lambda w=what: stock(w), lambda w=what: lowered(w), options.rounds)
            for what in ("forward", "training_step")
        }


@contextmanager
def _process(
    side: str, name: str, grid: tuple[int, int], options: argparse.Namespace, environ: Mapping[str, str]
) -> Any:
    """A process of this program that answers `serve`; gives the function that asks it."""
    arguments = ["--serve", side, "--model", name, "--grid", f"{grid[0]}x{grid[1]}"]
    for option in ("recipe", "batch", "threads", "device"):
        arguments += [f"--{option}", str(getattr(options, option))]
    command = [sys.executable, __file__, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, env=environ) as process:

        def ask(what: str) -> Seconds:
            process.stdin.write(what + "\n")
            wall, cpu = json.loads(process.stdout.readline())
            return wall, cpu

        yield ask
        process.stdin.close()


def serve(options: argparse.Namespace) -> None:
    """Answer each line of standard input, the name of a query, with its wall and CPU seconds."""
    if options.serve == "lowered":
        keep_memory()
    known = queries(options.model[0], options.serve, _grid(options.grid[0]), options)
    for line in sys.stdin:
        print(json.dumps(seconds(known[line.strip()], options.device)), flush=True)


def distance(name: str, grid: tuple[int, int], options: argparse.Namespace) -> float:
    """The relative L2 distance of the lowered output from neuraloperator's."""
    x = torch.randn(options.batch, recipe(options).history * 4, *grid, device=options.device)
    with torch.no_grad():
        stock, lowered = (model(name, side, options)(x) for side in SIDES)
        return float(torch.linalg.vector_norm(lowered - stock) / torch.linalg.vector_norm(stock))


def _grid(text: str) -> tuple[int, int]:
    X, Y = (int(n) for n in text.split("x"))
    return X, Y


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", choices=MODELS, help="default: all three")
    parser.add_argument("--grid", action="append", help="XxY, several allowed; default 64x128 and 256x512")
    parser.add_argument("--recipe", default="paper", help="whose widths (default: paper)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--allocator", choices=("kept", "default"), default="kept", help="where alike")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--serve", choices=tuple(SIDES), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    torch.set_num_threads(options.threads)
    if options.serve:
        serve(options)
        return
    kept = options.allocator == "kept" and keep_memory()
    results = []
    print(f"{'model':6}{'grid':>10}{'':>7}{'':>15}{'stock':>11}{'lowered':>11}{'ratio':>8}{'of CPU':>8}")
    for text in options.grid or ["64x128", "256x512"]:
        grid = _grid(text)
        for name in options.model or MODELS:
            result = {"model": name, "grid": list(grid), "batch": options.batch}
            result["relative_l2"] = distance(name, grid, options)
            for how, measure in (("alike", alike), ("as_run", as_run)):
                result[how] = measure(name, grid, options)
                for what, r in result[how].items():
                    print(
                        f"{name:6}{text:>10}{how:>7}{what:>15}{r['stock_wall_s'] * 1e3:8.1f} ms"
                        f"{r['lowered_wall_s'] * 1e3:8.1f} ms{r['wall_ratio']:8.2f}{r['cpu_ratio']:8.2f}",
                        flush=True,
                    )
            results.append(result)
    if options.json:
        document = {
            "what": "neuraloperator 2.0.0 against ptprof's lowered spectral layers, same weights, in turns",
            "recipe": options.recipe,
            "threads": options.threads,
            "allocator_alike": "kept" if kept else "default",
            "rounds": options.rounds,
            "results": results,
            "environment": environment().model_dump(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
