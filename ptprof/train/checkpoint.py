"""Weights on disk: the best of a finished training, and the state that an unfinished one goes on from.

Files are written whole or not at all, and hold tensors and plain values only: reading one runs no code.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from ptprof.errors import StudyError
from ptprof.records import PLAIN, Epoch, Execution, ModelRecord, Value
from ptprof.study import atomic, sha256

Weights = dict[str, Tensor]

_EPOCHS = TypeAdapter(tuple[Epoch, ...])


_SETTINGS = {
    "model": "model",
    "recipe": "recipe",
    "recipe_sha256": "settings of the recipe",
    "seed": "seed",
    "data_sha256": "data",
    "device": "device",
    "plugin_sha256": "the plugin's code",
}
_EXECUTION = {
    "precision": "precision",
    "channels_last": "layout in memory",
    "compiled": "compilation",
    "accumulate": "accumulation",
    "batch": "batch",
    "processes": "number of processes",
}


class Settings(Value):
    """What a training depends on: two with equal settings end with the same weights on a CPU."""

    model: str
    recipe: str
    recipe_sha256: str
    seed: int
    data_sha256: str
    device: str
    execution: Execution = PLAIN
    plugin_sha256: str | None = None

    @classmethod
    def of(cls, record: ModelRecord, device: str) -> Settings:
        """What ``record`` was made with, on the kind of ``device`` that it is compared by."""
        kept = {name: getattr(record, name) for name in cls.model_fields if name != "device"}
        return cls(**kept, device=device)

    def differences(self, other: Settings) -> list[str]:
        """What differs from ``other``, named for people."""
        named: list[tuple[Value, Value, dict[str, str]]] = [
            (self, other, _SETTINGS),
            (self.execution, other.execution, _EXECUTION),
        ]
        return [
            name
            for ours, theirs, names in named
            for field, name in names.items()
            if getattr(ours, field) != getattr(theirs, field)
        ]


@dataclass(frozen=True)
class State:
    """A training between two epochs: weights and optimiser of the last one, the best weights so far.

    No random state is kept, since each epoch seeds its own from the seed and its number.
    """

    settings: Settings
    epochs: tuple[Epoch, ...]
    weights: Weights
    best: Weights
    optimizer: dict[str, Any]


def weights_of(module: nn.Module) -> Weights:
    """A copy on the CPU of the parameters and buffers; neuraloperator's extra entries are left out."""
    state = module.state_dict().items()
    return {name: value.detach().to("cpu", copy=True) for name, value in state if isinstance(value, Tensor)}


def save_weights(path: Path, model: str, weights: Mapping[str, Tensor]) -> str:
    """Write a checkpoint of ``model``; returns its SHA-256, the same for the same weights."""
    _save(path, {"model": model, "weights": dict(weights)})
    return sha256(path)


def load_weights(path: Path, model: str, expected_sha256: str) -> Weights:
    """Read the checkpoint of ``model``.

    Raises
    ------
    StudyError : the file is not there, is not the one with ``expected_sha256``, or is of another model
    """
    if not path.exists():
        raise StudyError(f"{path} is not there: train {model} again with --force")
    if sha256(path) != expected_sha256:
        raise StudyError(f"{path} is not the file that run.json describes: train {model} again with --force")
    content = _load(path, f"train {model} again with --force")
    if content.get("model") != model:
        raise StudyError(
            f"{path} holds {content.get('model')!r}, not {model!r}: train {model} again with --force"
        )
    weights: Weights = content["weights"]
    return weights


def save_state(path: Path, state: State) -> None:
    """Write the state of an unfinished training."""
    _save(
        path,
        {
            "settings": state.settings.model_dump(),
            "epochs": _EPOCHS.dump_json(state.epochs).decode(),
            "weights": state.weights,
            "best": state.best,
            "optimizer": state.optimizer,
        },
    )


def load_state(path: Path, settings: Settings) -> State:
    """Read the state of an unfinished training, to go on with under ``settings``.

    Raises
    ------
    StudyError : the file cannot be read, or was written under other settings
    """
    remedy = "start anew with --force"
    content = _load(path, remedy)
    try:
        begun = Settings.model_validate(content["settings"])
        epochs = _EPOCHS.validate_json(content["epochs"])
        state = State(begun, epochs, content["weights"], content["best"], content["optimizer"])
    except (KeyError, ValidationError):
        raise StudyError(f"{path} is not the state of a training: {remedy}") from None
    if differences := begun.differences(settings):
        raise StudyError(
            f"{path} was left by a training that differs in {' and '.join(differences)}:"
            f" go on as it was begun, or {remedy}"
        )
    return state


def _save(path: Path, content: dict[str, Any]) -> None:
    # Written to an open file, since a path's name would become part of the bytes, and so of the hash.
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise StudyError(f"{path} cannot be written: {error}") from error


def _load(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise StudyError(f"{path} cannot be read ({type(error).__name__}): {remedy}") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path} is not what ptprof writes: {remedy}")
    return content
