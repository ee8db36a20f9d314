"""The deployable step: one module for every format."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptprof.errors import ExportError
from ptprof.records import Statistics
from ptprof.train.models.flow_matching import FlowMatching


class DeployableStep(nn.Module):
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

    Raises
    ------
    ExportError : statistics that cannot be divided by, or a history without a state
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, statistics: Statistics, history: int, grid: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        for field, mean, std in zip(statistics.fields, statistics.mean, statistics.std, strict=True):
            if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
                raise ExportError(
                    f"the statistics of {field} cannot standardise it: mean {mean}, deviation {std}"
                )
        if history < 1:
            raise ExportError(f"a window holds 1 state or more, not {history}")
        self.model = model
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

    def example(self, state_shape: tuple[int, int, int, int]) -> tuple[Tensor, ...]:
        """What the step takes, to record its graph with; of two states, since one is taken for a constant."""
        state = torch.zeros(2, *state_shape)
        return (state, torch.zeros_like(state[:, 0])) if self.takes_noise else (state,)

    def forward(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``state`` ``(B, h, C, X, Y)`` to ``next`` ``(B, C, X, Y)`` and ``state_out`` like ``state``.

        ``noise`` ``(B, C, X, Y)``, standard normal, is for a model that takes it.
        """
        window = ((state - self.mean) / self.std).flatten(1, 2)
        sampled = self.model(window) if noise is None else self.model(window, noise)
        following = sampled * self.std + self.mean
        newest = following.unsqueeze(1)
        # An empty slice would stay in the graph as a node that computes nothing.
        state_out = newest if self.history == 1 else torch.cat((state[:, 1:], newest), dim=1)
        return following, state_out
