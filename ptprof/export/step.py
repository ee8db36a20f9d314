"""What is deployed: one module for every format."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptprof.errors import ExportError
from ptprof.records import FilePrecision, Statistics
from ptprof.runtimes.metadata import NEXT, NOISE, STATE, STATE_OUT, Shapes, Signature
from ptprof.train.models.flow_matching import FlowMatching

SOME = 2
"""Examples in a batch of any size: of one, the size would be taken for a constant."""


class Deployable(nn.Module):
    """A module whose inputs and outputs have names, and shapes that are fixed behind the batch.

    Parameters
    ----------
    model : what computes
    precision : ``bf16`` rounds what its products and convolutions take to bfloat16; transforms, sums and what
        is around the model stay in fp32
    """

    def __init__(self, model: nn.Module, precision: FilePrecision = "fp32") -> None:
        super().__init__()
        self.model = model
        self.precision = precision

    @property
    def inputs(self) -> Shapes:
        """What it takes, in order."""
        raise NotImplementedError

    @property
    def outputs(self) -> Shapes:
        """What it gives, in order."""
        raise NotImplementedError

    def example(self, batch: int = SOME, device: str = "cpu") -> tuple[Tensor, ...]:
        """What the module takes, to record its graph with."""
        return tuple(torch.zeros(batch, *shape, device=device) for shape in self.inputs.values())

    def computed(self, *given: Tensor) -> Tensor:
        """What ``model`` gives for ``given``, in ``precision``."""
        if self.precision == "fp32":
            # No context at all: one would stand in every graph that is recorded.
            exact: Tensor = self.model(*given)
            return exact
        with torch.autocast(given[0].device.type, torch.bfloat16, cache_enabled=False):
            rounded: Tensor = self.model(*given)
        return rounded.float()


class DeployableMap(Deployable):
    """A model that is no forecast step: one tensor to one tensor, such as a PINN's points to u.

    Parameters
    ----------
    model : maps ``(B, *takes)`` to ``(B, *gives)``
    signature : the names and shapes of both
    precision : as of `Deployable`
    """

    def __init__(self, model: nn.Module, signature: Signature, precision: FilePrecision = "fp32") -> None:
        super().__init__(model, precision)
        self.signature = signature

    @property
    def inputs(self) -> Shapes:
        return {self.signature.input: self.signature.takes}

    @property
    def outputs(self) -> Shapes:
        return {self.signature.output: self.signature.gives}

    def forward(self, x: Tensor) -> Tensor:
        return self.computed(x)


class DeployableStep(Deployable):
    """One forecast step in physical units, from a window of states to the next state and the next window.

    Because it gives its own next input, a rollout is a loop that swaps two buffers; because it
    standardises inside, whoever runs it needs to know nothing of the statistics.

    Parameters
    ----------
    model : standardised windows ``(B, h·C, X, Y)``, oldest step first, to standardised ``(B, C, X, Y)``; one
        that says ``takes_noise`` takes noise ``(B, C, X, Y)`` too, and then so does the step
    statistics : mean and standard deviation of each field, physical units
    history : states in a window, h
    grid : ``(X, Y)`` if the step is for one grid only
    precision : as of `Deployable`

    Raises
    ------
    ExportError : statistics that cannot be divided by, or a history without a state
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        statistics: Statistics,
        history: int,
        grid: tuple[int, int] | None = None,
        precision: FilePrecision = "fp32",
    ) -> None:
        super().__init__(model, precision)
        for field, mean, std in zip(statistics.fields, statistics.mean, statistics.std, strict=True):
            if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
                raise ExportError(
                    f"the statistics of {field} cannot standardise it: mean {mean}, deviation {std}"
                )
        if history < 1:
            raise ExportError(f"a window holds 1 state or more, not {history}")
        self.sampler = model.sampler if isinstance(model, FlowMatching) else None
        self.takes_noise = bool(getattr(model, "takes_noise", False))
        self.history = history
        self.state_shape = None if grid is None else (history, len(statistics.fields), *grid)
        for name, values in (("mean", statistics.mean), ("std", statistics.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1))

    @property
    def nfe(self) -> int | None:
        """How often the network is evaluated, where the model samples its forecast."""
        return None if self.sampler is None else self.sampler.nfe

    @property
    def inputs(self) -> Shapes:
        shape = self._fixed_shape()
        return {STATE: shape, NOISE: shape[1:]} if self.takes_noise else {STATE: shape}

    @property
    def outputs(self) -> Shapes:
        shape = self._fixed_shape()
        return {NEXT: shape[1:], STATE_OUT: shape}

    def forward(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``state`` ``(B, h, C, X, Y)`` to ``next`` ``(B, C, X, Y)`` and ``state_out`` like ``state``.

        ``noise`` ``(B, C, X, Y)``, standard normal, is for a model that takes it.
        """
        window = ((state - self.mean) / self.std).flatten(1, 2)
        sampled = self.computed(window) if noise is None else self.computed(window, noise)
        following = sampled * self.std + self.mean
        newest = following.unsqueeze(1)
        # An empty slice would stay in the graph as a node that computes nothing.
        state_out = newest if self.history == 1 else torch.cat((state[:, 1:], newest), dim=1)
        return following, state_out

    def _fixed_shape(self) -> tuple[int, int, int, int]:
        if self.state_shape is None:
            raise ExportError("a step is exported for one grid, and this one is for any")
        return self.state_shape
