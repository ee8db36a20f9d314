"""The graph of a deployable module, as the writers of ONNX and of native code take it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ptprof.errors import ExportError
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
    with quiet(), plain_attention():
        return torch.export.export(
            folded(module).to(device),
            example,
            dynamic_shapes=shapes,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )


@contextmanager
def plain_attention() -> Iterator[None]:
    """torch's transformer layers as what they are made of: the fused ones are torch's alone, and in fp32."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


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
    if lines and f"Constraints violated ({BATCH})" in lines[0]:
        return "the size of a batch is a fixed number in it: take x.shape[0], not len(x)"
    return lines[0] if lines else type(cause).__name__


@contextmanager
def tried() -> Iterator[None]:
    """Run a file that was just written; ExportError, in one line, where it fails as its runtime runs it."""
    try:
        yield
    except RuntimeError as error:
        # TorchScript tells of its own calls first.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            f"the file fails on other windows than it was recorded with: {lines[-1]}"
        ) from error
