"""How a training computes: its devices, its precision, and what else is faster than the plain way.

Lightning Fabric carries devices, processes and autocast. Everything here may change the last digits of the
weights, so that it is recorded with them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy

from ptprof.errors import RuntimeUnavailable, UsageError
from ptprof.records import PLAIN, Execution
from ptprof.train.processes import nodes
from ptprof.train.recipe import Recipe

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: the first one evaluates alone, which may take hours."""


class Autocast(MixedPrecision):
    """bfloat16 for the operations that bear it; inputs and targets stay as they are.

    Fabric's own would round them too, and with them the state that a forecast adds its change to.
    """

    def convert_input(self, data: Any) -> Any:
        """``data``."""
        return data


def check(execution: Execution, recipe: Recipe, device: str) -> None:
    """Refuse what cannot be.

    Raises
    ------
    UsageError : TF32 on a CPU, or a batch that cannot be split as often as asked for
    """
    if execution.precision == "tf32" and torch.device(device).type != "cuda":
        raise UsageError("tf32 is a mode of NVIDIA GPUs: on the CPU take --precision fp32 or bf16")
    if not 1 <= execution.accumulate <= recipe.batch:
        raise UsageError(
            f"a batch of {recipe.batch} cannot be split into {execution.accumulate}: give --accumulate from 1"
            f" to {recipe.batch}"
        )


def launch(device: str, execution: Execution = PLAIN) -> Fabric:
    """Fabric on ``device``, or on one device of its kind for each process; waits for the other processes.

    Raises
    ------
    UsageError : one GPU by its number for several processes, or machines with different numbers of them
    RuntimeUnavailable : fewer GPUs than processes on this machine
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    kind, count = torch.device(device), execution.processes
    machines, here = nodes()
    devices: int | list[int] = 1 if kind.type == "cpu" else [kind.index or 0]
    strategy: str | DDPStrategy = "auto"
    if count > 1:
        if kind.index:
            raise UsageError(f"{count} processes take a GPU each: give --device cuda, not {device}")
        if kind.type == "cuda" and torch.cuda.device_count() < here:
            raise RuntimeUnavailable(
                f"{here} processes need a GPU each, and torch sees {torch.cuda.device_count()}: start fewer"
                " with --nproc-per-node"
            )
        devices = here
        strategy = DDPStrategy(timeout=PATIENCE)
    plugins: Any = [Autocast("bf16-mixed", kind.type)] if execution.precision == "bf16" else []
    fabric = Fabric(
        accelerator=kind.type, devices=devices, num_nodes=machines, strategy=strategy, plugins=plugins
    )
    fabric.launch()
    return fabric


@contextmanager
def numerics(precision: str = "fp32") -> Iterator[None]:
    """Products and convolutions of float32 on a GPU as ``precision`` says; then as it was.

    ``fp32`` is exact: torch itself would take TF32 for convolutions. Convolutions try their algorithms
    once and keep the fastest.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    cudnn.benchmark = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what torch warns of and nobody can act on."""
    with warnings.catch_warnings():
        # Gradients of depthwise convolutions come in another layout than their weights have.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        # What mixes channels is complex: torch.compile leaves it as it is, and compiles what is around it.
        warnings.filterwarnings(
            "ignore", message="Torchinductor does not support code generation for complex"
        )
        yield
