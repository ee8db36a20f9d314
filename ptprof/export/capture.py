"""The graph of a deployable module, as the writers of ONNX and of native code take it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ptprof.export.fold import folded
from ptprof.export.step import SOME, Deployable

BATCH = "batch"

FAILURES = (RuntimeError, TypeError, ValueError, NotImplementedError)
"""What torch's exporters raise where they cannot do something."""

_TALKATIVE = ("torch.__trace", "torch.export", "torch.onnx", "onnxscript", "onnx_ir")


def captured(
    module: Deployable, batch: int | None = None, device: str = "cpu"
) -> torch.export.ExportedProgram:
    """The graph of ``module``, its batch normalisation folded, for any size of a batch unless one is given.

    Raises what is in `FAILURES`.
    """
    example = module.example(batch or SOME, device)
    shapes = None if batch else tuple({0: torch.export.Dim(BATCH)} for _ in example)
    # Capturing here and not in an exporter lets guards on the batch be deferred: where a stride is computed
    # from it, the exporter would try, fail and try again in other ways.
    with quiet():
        return torch.export.export(
            folded(module).to(device),
            example,
            dynamic_shapes=shapes,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """The exporters without what they say on the way: others' deprecations, advice, what they skip."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_line(error: BaseException) -> str:
    """The first line of the deepest cause: what torch wraps around it is advice for its own developers."""
    cause: Any = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
