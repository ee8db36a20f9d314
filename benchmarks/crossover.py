"""Where real matrix products are cheaper than the fast Fourier transform, over grid sizes and modes.

One spectral convolution each: neuraloperator 2.0.0's as TorchScript, the lowered one as TorchScript and in
ONNX Runtime, same weights, in turns, under the same allocator setting. With one thread it is CPU time, which
other work on the machine hardly changes; with more it is wall time. The time against the operations of the
transforms (`ptprof.train.models.spectral_choice.operations`) gives, for each grid, the advantage of products
at which both cost the same; the median over the grids is the constant of the rule.

    python benchmarks/crossover.py --json results/spectral-crossover-cpu.json \\
        --figure docs/images/spectral-crossover.png
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

from ptprof.environment import environment
from ptprof.export.capture import quiet as quiet_exporter
from ptprof.export.lowering import lower
from ptprof.export.onnx import OPSET
from ptprof.plots import line_styles, new_figure, save
from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.torchscript import without_deprecation
from ptprof.train.models.neural_operators import quiet
from ptprof.train.models.spectral_choice import ADVANTAGE, cheaper, operations

GRIDS = ("64x128", "128x256", "256x512", "512x512")
MODES = (4, 8, 16, 32, 64, 128, 256, 512)
KINDS = {"fft": "FFT, TorchScript", "gemm": "products, TorchScript", "onnx": "products, ONNX Runtime"}
LEAST_S = 0.02
"""A round repeats a call for as long as this."""

Grid = tuple[int, int]
Call = Callable[[], Any]


def layer(modes: int, channels: int) -> nn.Module:
    """neuraloperator's spectral convolution."""
    torch.manual_seed(0)
    with quiet():
        from neuralop.layers.spectral_convolution import SpectralConv

        return SpectralConv(channels, channels, (modes, modes)).eval()


def calls(grid: Grid, modes: int, options: argparse.Namespace) -> dict[str, Call]:
    """One call of each kind on the same input, once they are known to give the same."""
    conv = layer(modes, options.channels)
    x = torch.randn(options.batch, options.channels, *grid)
    scripts = {kind: _traced(lower(nn.Sequential(conv), x, spectral=kind), x) for kind in ("fft", "gemm")}
    session = _session(lower(nn.Sequential(conv), x), x, options.threads)
    given = {session.get_inputs()[0].name: x.numpy()}
    made: dict[str, Call] = {kind: lambda script=script: script(x) for kind, script in scripts.items()}
    made["onnx"] = lambda: session.run(None, given)
    expected = made["fft"]()
    for found in (made["gemm"](), torch.from_numpy(made["onnx"]()[0])):
        error = torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)
        if error > 1e-5:
            raise RuntimeError(f"{grid}, {modes} modes: the products are {error:.1e} off")
    return made


def _traced(module: nn.Module, x: Tensor) -> Call:
    with without_deprecation(), warnings.catch_warnings(), torch.inference_mode():
        # neuraloperator computes with shapes, which a trace takes for constants.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        frozen = torch.jit.freeze(torch.jit.trace(module, x, check_trace=False).eval())

    def call(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return frozen(x)

    return call


def _session(module: nn.Module, x: Tensor, threads: int) -> onnxruntime.InferenceSession:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        with quiet_exporter():
            torch.onnx.export(module, (x,), path, opset_version=OPSET, external_data=False, verbose=False)
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(path, session_options, providers=["CPUExecutionProvider"])


def seconds(call: Call, clock: Callable[[], float]) -> float:
    """Seconds of one call by ``clock``, over as many as take `LEAST_S`."""
    start, count = clock(), 0
    while count == 0 or clock() - start < LEAST_S:
        call()
        count += 1
    return (clock() - start) / count


def ratio(grid: Grid, modes: int) -> float:
    """Operations of the transforms as products for one of the FFT's, of a layer with ``modes``."""
    products, fourier = operations(grid, grid, kept(grid, modes))
    return products / fourier


def kept(grid: Grid, modes: int) -> Grid:
    """The modes that neuraloperator keeps along x and along the real axis."""
    return min(modes, grid[0]), modes // 2 + 1


def measure(grid: Grid, modes: int, options: argparse.Namespace) -> dict[str, Any]:
    """The median over rounds of each kind's time, and what the rule says."""
    made = calls(grid, modes, options)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    rounds = [{kind: seconds(call, clock) for kind, call in made.items()} for _ in range(options.rounds + 1)]
    return {
        "grid": list(grid),
        "modes": modes,
        "operations_ratio": ratio(grid, modes),
        **{f"{kind}_s": statistics.median(times[kind] for times in rounds[1:]) for kind in made},
        "gemm_to_fft": statistics.median(times["gemm"] / times["fft"] for times in rounds[1:]),
        "onnx_to_fft": statistics.median(times["onnx"] / times["fft"] for times in rounds[1:]),
        "rule": cheaper(grid, grid, kept(grid, modes)),
    }


def crossing(rows: list[dict[str, Any]]) -> float | None:
    """The ratio of operations at which products cost what the FFT does, between the two modes around it."""
    for below, above in itertools.pairwise(sorted(rows, key=lambda row: row["operations_ratio"])):
        low, high = (math.log(row["gemm_to_fft"]) for row in (below, above))
        if low <= 0 < high:
            ends = [math.log(row["operations_ratio"]) for row in (below, above)]
            return math.exp(ends[0] + (ends[1] - ends[0]) * -low / (high - low))
    return None


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Times against modes, one panel for each grid, with what the rule chooses."""
    grids = list(dict.fromkeys(tuple(row["grid"]) for row in rows))
    figure, panels = new_figure(2.3 * len(grids) + 0.6, 3.0, ncols=len(grids), squeeze=False)
    for axes, grid in zip(panels[0], grids, strict=True):
        here = [row for row in rows if tuple(row["grid"]) == grid]
        modes = [row["modes"] for row in here]
        for (kind, label), style in zip(KINDS.items(), line_styles(), strict=False):
            axes.plot(modes, [1e3 * row[f"{kind}_s"] for row in here], marker=".", label=label, **style)
        cheap = [m for m in range(1, grid[0] + 1) if cheaper(grid, grid, kept(grid, m)) == "gemm"]
        if len(cheap) < grid[0]:
            axes.axvline(len(cheap) + 0.5, color="0.5", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel="modes along x", title=f"{grid[0]}×{grid[1]}")
        axes.set_xticks(modes, [str(m) for m in modes], fontsize=7)
        axes.minorticks_off()
    panels[0][0].set_ylabel("one layer (ms)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(KINDS))
    save(figure, path)


def _grid(text: str) -> Grid:
    X, Y = (int(n) for n in text.split("x"))
    return X, Y


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--grid", action="append", help=f"XxY, several allowed; default {' '.join(GRIDS)}")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--figure", type=Path, help="where to draw them")
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    torch.set_num_threads(options.threads)
    keeps = keep_memory()
    rows = []
    print(f"{'grid':>9}{'modes':>6}{'ops ratio':>11}{'FFT':>10}{'products':>10}{'ORT':>10}{'gemm/fft':>9}")
    for text in options.grid or GRIDS:
        grid = _grid(text)
        for modes in sorted({min(m, grid[0]) for m in MODES}):
            row = measure(grid, modes, options)
            rows.append(row)
            times = "".join(f"{1e3 * row[f'{kind}_s']:7.2f} ms" for kind in KINDS)
            print(
                f"{text:>9}{modes:6}{row['operations_ratio']:11.2f}{times}{row['gemm_to_fft']:9.2f}"
                f" {row['rule']}",
                flush=True,
            )
    grids = dict.fromkeys(tuple(row["grid"]) for row in rows)
    crossings = {f"{g[0]}x{g[1]}": crossing([row for row in rows if tuple(row["grid"]) == g]) for g in grids}
    found = [value for value in crossings.values() if value is not None]
    advantage = statistics.median(found) if found else None
    print(f"crossings {crossings}; median {advantage}; the rule has {ADVANTAGE}")
    if options.json:
        document = {
            "what": "one spectral convolution: neuraloperator 2.0.0's FFT against real products, in turns",
            "channels": options.channels,
            "batch": options.batch,
            "rounds": options.rounds,
            "threads": options.threads,
            "time": "CPU" if options.threads == 1 else "wall",
            "allocator": "kept" if keeps else "default",
            "rows": rows,
            "crossings": crossings,
            "advantage": advantage,
            "environment": environment().model_dump(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.figure:
        draw(rows, options.figure)


if __name__ == "__main__":
    main()
