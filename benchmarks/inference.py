"""One forecast step and a rollout on every runtime, against those that the models come from.

The peer of FNO, TFNO and U-FNO is neuraloperator 2.0.0, of the U-nets the same network of torch's own layers,
channels first, as The Well has it; each twice: as its users run it, and with the allocator and the waiting of
threads set as ptprof sets them ("kept"). Weights are drawn from one seed. Each candidate answers in a process
of its own, and the processes take turns in rounds, so that what slows the machine slows them all; a ratio is
the median over the rounds of the ratio within a round, beside the smallest and the largest.

The roofline takes the operations of a step and the peaks of this run: a product of matrices in the precision
of the candidate, and a copy. Its share is the least time over the time taken; what is moved where each
operation reads and writes by itself tells what limits it.

    python benchmarks/inference.py --grid 64x128 --json results/inference-64x128-cpu.json
    python benchmarks/inference.py --grid 256x512 --json results/inference-256x512-cpu.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ptprof.environment import environment
from ptprof.errors import PtprofError
from ptprof.export import DeployableStep
from ptprof.export.flops import flops_of_module
from ptprof.export.onnx import write_onnx
from ptprof.export.torchscript import write_torchscript
from ptprof.profile.roofline import peaks
from ptprof.records import Statistics
from ptprof.runtimes import Runner, format_of, open_runner
from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.metadata import Metadata
from ptprof.runtimes.threads import CHOICES, spin_briefly
from ptprof.train.models import build
from ptprof.train.models.convolution import Conv2d, Convolutional, DepthwiseConv2d
from ptprof.train.models.spectral import freeze

SPECTRAL = ("fno", "tfno", "ufno")
MODELS = (*SPECTRAL, "unet", "unet-cn", "unet-cp", "unet-cn-cp")
PEERS = ("peer", "peer-kept")
RUNTIMES = ("eager", "torchscript", "onnxruntime", "openvino", "openvino-bf16")
GPU_RUNTIMES = ("eager", "torchscript", "onnxruntime")
FIELDS = ("tracer", "pressure", "velocity_x", "velocity_y")
STATISTICS = Statistics(fields=FIELDS, mean=(0.0, 0.0, 0.1, 0.0), std=(1.0, 0.5, 0.7, 0.3))
HISTORY, STEPS = 4, 20
LEAST_S = 0.25
"""A turn repeats a step for as long as this."""

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}
Grid = tuple[int, int]


def plain(module: nn.Module) -> nn.Module:
    """A U-net of torch's own convolutions, channels first."""
    for name, child in module.named_children():
        if isinstance(child, Conv2d | DepthwiseConv2d):
            layer = nn.Conv2d(
                child.in_channels,
                child.out_channels,
                child.kernel_size,
                padding=child.margin,
                padding_mode="circular" if child.circular else "zeros",
                groups=child.groups,
                bias=child.bias is not None,
            )
            layer.load_state_dict(child.state_dict())
            setattr(module, name, layer)
        else:
            plain(child)
    if isinstance(module, Convolutional):
        module.lay_out(False)
    return module


def step_of(model: str, grid: Grid, candidate: str, options: argparse.Namespace) -> DeployableStep:
    """The step of ``model`` as the candidate has it, with the same weights as every other's."""
    torch.manual_seed(0)
    if candidate not in PEERS:
        network = freeze(build(model, options.recipe), grid)
    elif model in SPECTRAL:
        network = build(model, options.recipe, "fft")
    else:
        network = plain(build(model, options.recipe))
    return DeployableStep(network, STATISTICS, HISTORY, grid).eval()


def exported(model: str, grid: Grid, folder: Path, options: argparse.Namespace) -> None:
    """Write the files that the candidates read; one size of a batch on a GPU, for its graphs."""
    step = step_of(model, grid, "eager", options)
    metadata = Metadata(
        model=model,
        run=f"{model}-{options.recipe}-s0",
        recipe=options.recipe,
        grid=grid,
        history=HISTORY,
        fields=FIELDS,
        units=dict.fromkeys(FIELDS, "1"),
        statistics=STATISTICS,
        checkpoint_sha256="0" * 64,
        batch=None if options.device == "cpu" else 1,
        versions={},
    )
    writers: dict[str, Any] = {"onnx": write_onnx, "torchscript": write_torchscript}
    if "pt2" in options.runtimes:
        from ptprof.export.pt2 import write_pt2

        writers["pt2"] = write_pt2
    for name in {format_of(runtime(c)) for c in options.runtimes} - {None}:
        writers[name](step, metadata, folder / f"model{SUFFIXES[name]}")


def runtime(candidate: str) -> str:
    """What runs it."""
    return "eager" if candidate in PEERS else candidate.removesuffix("-bf16")


def precision(candidate: str) -> str:
    return "bf16" if candidate.endswith("-bf16") else "fp32"


def opened(candidate: str, model: str, grid: Grid, folder: Path, options: argparse.Namespace) -> Runner:
    """The candidate's runner."""
    name = runtime(candidate)
    file_format = format_of(name)
    source: Any = (
        folder / f"model{SUFFIXES[file_format]}" if file_format else step_of(model, grid, candidate, options)
    )
    return open_runner(
        name, source, device=options.device, threads=options.threads, precision=precision(candidate)
    )


# ---------------------------------------------------------------- one candidate, in a process of its own


def serve(options: argparse.Namespace) -> None:
    """Answer each line of standard input, one JSON document, with another."""
    grid = _grid(options.grid[0])
    state = torch.randn(1, HISTORY, 4, *grid, generator=torch.Generator().manual_seed(0))
    queries: dict[str, Any] = {}
    runner: Runner | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "open":
            queries.clear()
            if runner is not None:
                runner.close()
            try:
                runner = opened(options.serve, asked["model"], grid, Path(asked["folder"]), options)
                on_device = state.to(runner.device)
                queries = {"step": runner.bind(on_device), "rollout": runner.bind(on_device, STEPS)}
                for _ in range(2 if runner.device == "cpu" else 5):
                    queries["step"]()
                runner.synchronize()
            except PtprofError as error:
                _answer({"error": str(error)})
                continue
            _answer({"provider": runner.provider, "mean": float(queries["step"].result.float().mean())})
        elif runner is not None:
            _answer(timed(queries[asked["do"]], runner, asked["do"] == "step"))


def timed(query: Any, runner: Runner, repeat: bool) -> dict[str, float]:
    """Wall and CPU seconds of one call; on a GPU also how long the host took to ask for it."""
    if runner.device != "cpu" and not repeat:
        for _ in range(4):  # until it is captured
            query()
        runner.synchronize()
    calls = 0
    wall, cpu, host = time.perf_counter(), time.process_time(), 0.0
    while calls == 0 or (repeat and time.perf_counter() - wall < LEAST_S):
        begun = time.perf_counter()
        query()
        host += time.perf_counter() - begun
        runner.synchronize()
        calls += 1
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_s": wall / calls, "cpu_s": cpu / calls, "host_s": host / calls}


def _answer(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


@contextmanager
def process(candidate: str, grid: Grid, options: argparse.Namespace) -> Iterator[Any]:
    """A process that answers `serve`; gives the function that asks it."""
    environ = {key: value for key, value in os.environ.items() if key not in CHOICES}
    if candidate == "peer":
        environ["PTPROF_ALLOCATOR"] = "default"
    else:
        spin_briefly(environ)
    environ.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, __file__, "--serve", candidate, "--grid", f"{grid[0]}x{grid[1]}"]
    for option in ("recipe", "threads", "device"):
        command += [f"--{option}", str(getattr(options, option))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, env=environ) as child:

        def ask(**what: Any) -> dict[str, Any]:
            child.stdin.write(json.dumps(what) + "\n")
            line = child.stdout.readline()
            if not line:
                raise SystemExit(f"the process of {candidate} ended")
            answer: dict[str, Any] = json.loads(line)
            return answer

        yield ask
        child.stdin.close()


# ---------------------------------------------------------------- all of them, in turns


def compared(model: str, grid: Grid, ask: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """One model on one grid by every candidate."""
    with tempfile.TemporaryDirectory() as folder:
        exported(model, grid, Path(folder), options)
        answers = {name: asks(do="open", model=model, folder=folder) for name, asks in ask.items()}
    missing = {name: answer["error"] for name, answer in answers.items() if "error" in answer}
    there = [name for name in ask if name not in missing]
    result: dict[str, Any] = {"model": model, "grid": list(grid), "missing": missing}
    result["providers"] = {name: answers[name]["provider"] for name in there}
    rounds = [{name: ask[name](do="step") for name in there} for _ in range(options.rounds)]
    result["step"] = summary(rounds)
    walls = {name: result["step"][name]["wall_s"] for name in there if name not in PEERS}
    best = [
        min((n for n in walls if precision(n) == p), key=walls.__getitem__)
        for p in ("fp32", "bf16")
        if any(precision(n) == p for n in walls)
    ]
    if options.rollouts == "all" or (options.rollouts == "some" and model in options.rollout_models):
        asked = [*PEERS, *(walls if options.device != "cpu" else best)]
        rounds = [{name: ask[name](do="rollout") for name in asked} for _ in range(options.rollout_rounds)]
        result["rollout"] = summary(rounds)
    result["roofline"] = roofline(model, grid, best, walls, options)
    return result


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Of each candidate its median seconds, and how many times faster than each peer."""
    told = {}
    for name in rounds[0]:
        told[name] = {key: statistics.median(r[name][key] for r in rounds) for key in rounds[0][name]}
        for peer in PEERS:
            for clock in ("wall", "cpu"):
                ratios = [r[peer][f"{clock}_s"] / r[name][f"{clock}_s"] for r in rounds]
                spread = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
                told[name][f"{clock}_times_{peer}"] = spread
    return told


def roofline(
    model: str, grid: Grid, best: list[str], walls: dict[str, float], options: argparse.Namespace
) -> dict[str, Any]:
    """Of the fastest of each precision: the least time that the peaks allow, its share, what limits it."""
    step = step_of(model, grid, "eager", options)
    counted = flops_of_module(step, *step.example(1))
    told: dict[str, Any] = {"flops": counted.total, "moved_bytes": counted.moved_bytes}
    for name in best:
        peak = peaks(options.device, precision(name), options.threads)
        arithmetic_s = counted.total / peak.flops_per_s
        least_s = max(arithmetic_s, (counted.weight_bytes + counted.io_bytes) / peak.bytes_per_s)
        moving_s = counted.moved_bytes / peak.bytes_per_s
        told[name] = {
            "least_s": least_s,
            "share": least_s / walls[name],
            "unfused_traffic_s": moving_s,
            "limited_by": "arithmetic"
            if arithmetic_s >= moving_s
            else "memory: what layers hand on to each other, where they are not fused",
            "peak_flops_per_s": peak.flops_per_s,
            "peak_bytes_per_s": peak.bytes_per_s,
        }
    return told


def show(result: dict[str, Any]) -> None:
    grid = "x".join(map(str, result["grid"]))
    for what in ("step", "rollout"):
        for name, r in result.get(what, {}).items():
            as_run, kept = (r[f"wall_times_{peer}"] for peer in PEERS)
            share = result["roofline"].get(name, {}).get("share") if what == "step" else None
            print(
                f"{result['model']:11}{grid:>8} {what:8}{name:15}{r['wall_s'] * 1e3:9.1f} ms"
                f"{r['cpu_s'] * 1e3:9.1f} ms CPU"
                + "".join(f"{t['median']:7.2f} ({t['low']:.2f}-{t['high']:.2f})" for t in (as_run, kept))
                + (f"{share:7.0%} of roofline" if share else ""),
                flush=True,
            )
    for name, why in result["missing"].items():
        print(f"{result['model']:11}{grid:>8} {name}: {why}", flush=True)


def _grid(text: str) -> Grid:
    X, Y = (int(n) for n in text.split("x"))
    return X, Y


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=_names, default=MODELS, help="comma-separated (default: all seven)")
    parser.add_argument("--grid", action="append", help="XxY, several allowed; default 64x128 and 256x512")
    parser.add_argument("--runtimes", type=_names, help=f"default {','.join(RUNTIMES)}; also compile, pt2")
    parser.add_argument("--rounds", type=int, default=5, help="of one step")
    parser.add_argument("--rollouts", choices=("all", "some", "none"), default="some")
    parser.add_argument("--rollout-models", type=_names, default=("fno", "ufno", "unet", "unet-cn"))
    parser.add_argument("--rollout-rounds", type=int, default=1)
    parser.add_argument("--recipe", default="paper", help="whose widths (default: paper)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--json", type=Path, help="where to write; what it holds already is not measured again"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    options.runtimes = options.runtimes or (RUNTIMES if options.device == "cpu" else GPU_RUNTIMES)
    keep_memory()
    if options.serve:
        if options.serve == "peer":
            torch.set_num_threads(options.threads)
        serve(options)
        return
    there = json.loads(options.json.read_text())["results"] if options.json and options.json.exists() else []
    for text in options.grid or ["64x128", "256x512"]:
        grid = _grid(text)
        done = {result["model"] for result in there if result["grid"] == list(grid)}
        with ExitStack() as stack:
            ask = {
                name: stack.enter_context(process(name, grid, options))
                for name in (*PEERS, *options.runtimes)
            }
            for model in options.models:
                if model not in done:
                    there.append(compared(model, grid, ask, options))
                    show(there[-1])
                    write(there, options)


def write(results: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """All that there is so far."""
    if options.json is None:
        return
    document = {
        "what": "one step and a rollout of 20 on every runtime, against neuraloperator and torch, in turns",
        "recipe": options.recipe,
        "device": options.device,
        "threads": options.threads,
        "rounds": options.rounds,
        "rollout_rounds": options.rollout_rounds,
        "results": results,
        "environment": environment().model_dump(),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
