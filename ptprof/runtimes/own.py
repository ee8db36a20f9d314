"""A runtime of one's own: all but the function that computes a step."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ptprof.environment import cores
from ptprof.errors import RuntimeUnavailable, StudyError
from ptprof.plugins.importing import FAULTS, in_words
from ptprof.runtimes.base import answer_shape
from ptprof.runtimes.function import FunctionRunner, Step
from ptprof.runtimes.said import said_by

ROUNDED_WHEN_OPENED = ("onnx",)
"""Formats of which one file holds fp32 for every precision; others are exported anew for each."""


class StepRunner(FunctionRunner):
    """A runtime whose `load` opens a model and gives the function that computes a step of it.

    To be derived from, and registered with `ptprof.runtime`. Queries, rollouts, noise, what the file says
    about itself and what is refused are here.

    Attributes
    ----------
    devices : the kinds of device that it runs on, of ``cpu`` and ``cuda``; the CPU unless it says otherwise
    precisions : what it computes in, of ``fp32``, ``tf32`` and ``bf16``; fp32 unless it says otherwise
    threads : CPU threads of one query
    precision : what is to be computed in, one of ``precisions``
    provider : what really runs; its name and the kind of device unless `load` sets it

    Raises
    ------
    RuntimeUnavailable : a device or precision that is not among its own, or `load` fails
    StudyError : a file that is not there or is damaged
    """

    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)

    def __init__(
        self,
        source: Path | nn.Module,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        tf32: bool = False,
    ) -> None:
        super().__init__(device)
        self.threads = threads or cores()
        self.precision = "tf32" if tf32 else precision
        self.provider = self.available(self.device, self.precision)
        if isinstance(source, Path):
            if not source.is_file():
                raise StudyError(f"{source} is not there")
            self._describe_file(source, precision)
        else:
            source = source.eval().to(self.device)
            self.describe_module(source)
        self._step = self._checked_step(self.load(source))

    @classmethod
    def available(cls, device: str, precision: str = "fp32") -> str:
        kind = torch.device(device).type
        if kind not in cls.devices:
            raise RuntimeUnavailable(
                f"{cls.runtime} does not run on {device}: take {' or '.join(cls.devices)}"
            )
        if precision not in cls.precisions:
            known = " or ".join(cls.precisions)
            raise RuntimeUnavailable(f"{cls.runtime} does not compute in {precision}, but in {known}")
        return " ".join([cls.runtime, kind, *([] if precision == "fp32" else [precision])])

    @abstractmethod
    def load(self, source: Any) -> Step:
        """Open ``source``, a path or a module on the device, and give what computes one step.

        That takes ``state`` ``(B, h, C, X, Y)``, a tensor of float32 on the device, and ``noise``
        ``(B, C, X, Y)`` where the model takes some, and gives ``next`` ``(B, C, X, Y)`` and ``state_out``
        ``(B, h, C, X, Y)``, tensors or arrays in memory of their own; or ``next`` alone, after which the
        window moves on by one. For a model with a `Signature` of its own it gives the output.
        """

    def _describe_file(self, path: Path, precision: str) -> None:
        said = said_by(path, self.reads)
        self.describe(said, "fp32" if self.reads in ROUNDED_WHEN_OPENED else precision)
        self.takes_noise = said is not None and said.nfe is not None

    def _checked_step(self, step: Step) -> Step:
        """``step`` with its answers as tensors of the right shapes; what goes wrong in it is one line."""

        def call(state: Tensor, *noise: Tensor) -> tuple[Tensor, Tensor] | Tensor:
            try:
                given: Any = step(state, *noise)
                if not isinstance(given, tuple | list):
                    given = (given,)
                answers = [_tensor(value, state) for value in given]
            except FAULTS as error:
                raise RuntimeUnavailable(f"{self.runtime} has failed: {in_words(error)}") from error
            due = [answer_shape(state, None, self.signature)]
            if len(answers) == 2 and self.signature is None:
                due.append(tuple(state.shape))
            if [tuple(answer.shape) for answer in answers] != due:
                gives = " and ".join(str(tuple(answer.shape)) for answer in answers) or "nothing"
                raise RuntimeUnavailable(
                    f"{self.runtime} gives {gives}, where {' and '.join(map(str, due))} is due"
                )
            if self.signature is not None:
                return answers[0]
            following, window = answers if len(answers) == 2 else (answers[0], _moved_on(state, answers[0]))
            if window.data_ptr() == state.data_ptr():
                raise RuntimeUnavailable(
                    f"{self.runtime} gives the state that it was given as the one that follows: each step"
                    " needs memory of its own"
                )
            return following, window

        return call


def _tensor(value: object, like: Tensor) -> Tensor:
    """``value``, a tensor or whatever numpy takes for an array, as one of the kind of ``like``."""
    if isinstance(value, Tensor):
        return value.to(like)
    return torch.from_numpy(np.require(value, np.float32, ["C", "W"])).to(like)


def _moved_on(state: Tensor, following: Tensor) -> Tensor:
    """The window after ``state``: without its oldest state, with ``following`` as the latest."""
    return torch.cat((state[:, 1:], following.unsqueeze(1)), 1)
