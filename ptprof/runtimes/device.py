"""Which device a name means."""

from __future__ import annotations

import re

import torch

from ptprof.errors import RuntimeUnavailable, UsageError


def resolve_device(name: str = "auto") -> str:
    """The device that ``name`` means, as torch spells it: ``cpu`` or ``cuda:i``.

    ``auto`` is the first visible GPU where there is one, the CPU otherwise; ``cuda`` is ``cuda:0``.

    Raises
    ------
    UsageError : a name of another form
    RuntimeUnavailable : a GPU that is not here
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise UsageError(f"unknown device {name!r}: one of auto, cpu, cuda, cuda:0, cuda:1, …")
    if not torch.cuda.is_available():
        why = "sees no NVIDIA GPU" if torch.version.cuda else "was built without CUDA"
        raise RuntimeUnavailable(
            f"device {name!r} is not here: torch {torch.__version__} {why}; use --device cpu"
        )
    index, count = int(match[1] or 0), torch.cuda.device_count()
    if index >= count:
        raise RuntimeUnavailable(
            f"device {name!r} is not here: torch sees {count} GPU(s), cuda:0 to cuda:{count - 1}"
        )
    return f"cuda:{index}"
