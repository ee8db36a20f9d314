"""A user's own module: made by the user's code, with the weights of a checkpoint."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptprof.errors import ExportError, UsageError, unknown
from ptprof.plugins.importing import FAULTS, imported, in_words, quiet

NESTED = ("state_dict", "model_state_dict", "model")
"""Where training scripts put the weights in a checkpoint that holds more."""

HARMLESS = ("neuralop.", "torch.nn.", "torch._C._nn.")
"""Whose names a checkpoint may hold beside tensors: neuraloperator writes its constructor's arguments."""


def load_module(source: str, checkpoint: Path | None = None) -> nn.Module:
    """The module that ``source`` makes, on the CPU in eval mode, with the weights of ``checkpoint``.

    Parameters
    ----------
    source : ``package.module:factory`` or ``file.py:factory``; a function or class that takes nothing, or a
        module that is made already. Its code is run.
    checkpoint : what ``torch.save(model.state_dict(), …)`` wrote, or a dict that holds that under one of
        `NESTED`; only tensors are read from it

    Raises
    ------
    UsageError : a ``source`` that cannot be found
    ExportError : code that fails, something that is no module, a checkpoint that is cut or another model's
    """
    place, colon, name = source.rpartition(":")
    if not colon or not name:
        raise UsageError(f"{source!r} names no factory: write package.module:factory or file.py:factory")
    with quiet():
        found = imported(place)
        if not hasattr(found, name):
            raise unknown(f"factory of {place}", name, [n for n in vars(found) if not n.startswith("_")])
        made = getattr(found, name)
        if not isinstance(made, nn.Module):
            try:
                made = made()
            except FAULTS as error:
                raise ExportError(f"{source} fails: {in_words(error)}") from error
    if not isinstance(made, nn.Module):
        raise ExportError(f"{source} gives a {type(made).__name__}, not a torch.nn.Module")
    if checkpoint is not None:
        load_weights(made, checkpoint)
    return made.cpu().eval()


def load_weights(module: nn.Module, checkpoint: Path) -> None:
    """Load every weight of ``module`` from ``checkpoint``; ExportError, none loaded, where one differs."""
    weights = _weights(checkpoint)
    own = nn.Module.state_dict(module)
    complaints = [
        *_listed("it lacks", [name for name in own if name not in weights]),
        *_listed("it also holds", [name for name in weights if name not in own]),
        *_listed(
            "another shape has",
            [
                f"{name} ({_times(weights[name])}, not {_times(own[name])})"
                for name in own
                if name in weights and weights[name].shape != own[name].shape
            ],
        ),
    ]
    if complaints:
        kind = type(module).__name__
        raise ExportError(f"{checkpoint} is of another model than this {kind}: {'; '.join(complaints)}")
    nn.Module.load_state_dict(module, weights)


def _weights(checkpoint: Path) -> dict[str, Tensor]:
    if not checkpoint.is_file():
        raise UsageError(f"{checkpoint} is not there")
    try:
        with torch.serialization.safe_globals(_harmless(checkpoint)):
            loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExportError(
            f"{checkpoint} holds more than tensors, which could run code: save model.state_dict() alone"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError) as error:
        raise ExportError(f"{checkpoint} is cut or no checkpoint of torch's") from error
    for key in NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise ExportError(f"{checkpoint} holds a {type(loaded).__name__}, not a model's state dict")
    weights = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not weights:
        raise ExportError(f"{checkpoint} holds no weights: save model.state_dict()")
    # Training on several devices wraps the module.
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(weights, "module.")
    return weights


def _harmless(checkpoint: Path) -> list[Any]:
    """What of neuraloperator's and torch's own a checkpoint refers to by name."""
    found = []
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint):
        place, _, attribute = name.rpartition(".")
        if name.startswith(HARMLESS):
            with quiet():
                found.append(getattr(importlib.import_module(place), attribute))
    return found


def _listed(verb: str, names: list[str]) -> list[str]:
    """The first of the names, and how many more there are; nothing where there are none."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return [f"{verb} {names[0]}{more}"] if names else []


def _times(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
