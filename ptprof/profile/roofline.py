"""What a step must compute and move, and what this machine does at best of each.

Peaks are measured where the step runs: a product of square matrices in its precision, and a copy of arrays
larger than what a core's caches hold. `ptprof.profile.roof` puts a measured step beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from ptprof.errors import StudyError
from ptprof.export.artifact import deployable
from ptprof.export.flops import flops_of_module
from ptprof.records import ModelRecord, Work
from ptprof.study import Study
from ptprof.train.models.own import check_source

#: Sides of the matrices whose product is the peak of computing, on the CPU and on a GPU.
_SIDES = {"cpu": 1536, "cuda": 8192}
#: Bytes of each of the two arrays of the copy.
_COPIED_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
#: A peak is the best of so many: what disturbs only makes it slower.
_BEST_OF = 5


@dataclass(frozen=True)
class Peaks:
    """What this machine does at best, as measured: operations per second, and bytes moved per second."""

    flops_per_s: float
    bytes_per_s: float


@cache
def peaks(device: str, precision: str = "fp32", threads: int | None = None) -> Peaks:
    """The peaks of ``device``, measured once per process: about a second.

    Parameters
    ----------
    precision : ``fp32``, ``tf32`` or ``bf16``, of the product
    threads : of torch on the CPU; as they are for None
    """
    if threads is not None:
        torch.set_num_threads(threads)
    kind = torch.device(device).type
    side = _SIDES[kind]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(side, side, device=device, generator=generator).to(dtype) for _ in range(2))
    product = torch.empty_like(a)
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        computing_s = _best(lambda: torch.mm(a, b, out=product), device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tf32
    source = torch.ones(_COPIED_BYTES[kind], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    moving_s = _best(lambda: target.copy_(source), device)
    # As STREAM counts: what is read and what is written.
    return Peaks(2.0 * side**3 / computing_s, 2.0 * source.nbytes / moving_s)


def work(
    study: Study, run: ModelRecord, *, batch: int, nfe: int | None, precision: str, peaks: Peaks | None
) -> Work | None:
    """What a step of ``run`` for ``batch`` states must compute and move, and the peaks it is held against.

    None of a plugin's model whose code is not here: its files are measured without.

    Operations are counted on the module as it is exported (`ptprof.export.flops`), 2 for a multiplication and
    an addition. Bytes are the least that any machine must move: weights once, the state in, the next state
    and window out, all in fp32, the weights in two bytes where ``precision`` is bf16. What is between the
    layers is taken to stay in caches, so the bytes are a lower bound.
    """
    try:
        check_source(run)
    except StudyError:
        return None
    step = deployable(study, run, nfe)
    counted = flops_of_module(step, *step.example(batch))
    weights = counted.weight_bytes / 2 if precision == "bf16" else counted.weight_bytes
    return Work(
        flops=counted.total,
        bytes=weights + counted.io_bytes,
        peak_flops_per_s=None if peaks is None else peaks.flops_per_s,
        peak_bytes_per_s=None if peaks is None else peaks.bytes_per_s,
    )


def _best(action: Callable[[], object], device: str) -> float:
    """The shortest time (s) of a few, after one that does not count."""
    on_gpu = device != "cpu"
    times = []
    for _ in range(_BEST_OF + 1):
        begun = time.perf_counter()
        action()
        if on_gpu:
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begun)
    return min(times[1:])
