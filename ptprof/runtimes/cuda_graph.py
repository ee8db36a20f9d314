"""A query on a GPU as one CUDA graph: the host starts it once, where it would start every kernel.

A forecast step launches a hundred kernels or more, and on a small grid the GPU is done with each before the
host has launched the next. A graph holds the addresses that it was captured with, which is why a query
keeps its state, its noise and its frames where they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

from ptprof.errors import RuntimeUnavailable

CALLS_BEFORE = 3
"""Calls before the capture: cuDNN chooses its algorithms in the first, TorchScript optimises in the second
and third, and none of that may happen while a graph is captured."""


def wanted(device: torch.device) -> bool:
    """Whether to capture: on a GPU, unless ``PTPROF_CUDA_GRAPHS=off``."""
    return device.type == "cuda" and os.environ.get("PTPROF_CUDA_GRAPHS") != "off"


def captured(compute: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph:
    """``compute`` as a graph to be replayed; it has been called `CALLS_BEFORE` times.

    Raises
    ------
    RuntimeUnavailable : it does what a graph cannot hold, such as waiting for the GPU
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        try:
            # What other threads do with the GPU in the meantime is none of the graph's business.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                compute()
        except RuntimeError as error:
            raise RuntimeUnavailable(
                f"this model cannot be captured in a CUDA graph ({str(error).splitlines()[0]}): set"
                " PTPROF_CUDA_GRAPHS=off to run it without"
            ) from error
    return graph
