"""What torch's own errors mean to who trains: memory that ran out, a compiler, a process that has gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from ptprof.errors import TrainingError
from ptprof.train.processes import processes
from ptprof.train.recipe import Recipe

GONE = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")
"""What torch says where another process ended in the middle of a message."""


@contextmanager
def explained(model: str, recipe: Recipe, device: str, accumulate: int) -> Iterator[None]:
    """Turn an error of torch's into one line that says what to do.

    Raises
    ------
    TrainingError : memory ran out, nothing could be compiled, or another process has gone
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if _memory_ran_out(error):
            raise TrainingError(_advice(model, recipe.batch, device, accumulate)) from None
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            why = str(error).strip().splitlines()[0]
            raise TrainingError(f"{model}: torch.compile failed ({why}): leave out --compile") from None
        if processes() > 1 and _process_gone(error):
            raise TrainingError(
                f"{model}: another process of this training ended, and so this one does"
            ) from None
        raise


def _memory_ran_out(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(
        text in str(error)
        for text in ("can't allocate memory", "not enough memory", "CUDA_ERROR_OUT_OF_MEMORY")
    )


def _process_gone(error: Exception) -> bool:
    return isinstance(error, distributed.DistError) or any(text in str(error) for text in GONE)


def _advice(model: str, batch: int, device: str, accumulate: int) -> str:
    parts = min(2 * accumulate, batch)
    if parts == accumulate:
        return f"{model}: one window at a time is more than the memory of {device} holds: take another device"
    return (
        f"{model}: the memory of {device} ran out at a batch of {batch}: split it with --accumulate {parts},"
        " or take a smaller --batch"
    )
