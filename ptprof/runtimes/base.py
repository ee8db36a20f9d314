"""What every runtime offers: a step, a rollout, and queries bound to their buffers to be timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from ptprof.errors import RuntimeUnavailable, UsageError
from ptprof.runtimes.device import resolve_device
from ptprof.runtimes.metadata import Metadata

StateShape = tuple[int, int, int, int]


class Query(Protocol):
    """A forecast from one fixed batch of states; calling it computes it anew into the same buffers.

    On a GPU a call may return before the work is done: `Runner.synchronize` waits for it.
    """

    @property
    def result(self) -> Tensor:
        """What the last call computed: ``(B, C, X, Y)`` for a step, ``(B, L, C, X, Y)`` for a rollout."""

    def __call__(self) -> None: ...


class Frames:
    """Room for the states that a query computes: one, or one for each of ``steps`` steps.

    Frames lead with the step, so that each is one contiguous block that a runtime can write into. They
    hold NaN until the first call.
    """

    def __init__(self, state: Tensor, steps: int | None) -> None:
        batch, _, *shape = state.shape
        self._frames = state.new_full((steps or 1, batch, *shape), torch.nan)
        self._rollout = steps is not None

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._frames)

    @property
    def result(self) -> Tensor:
        """``(B, C, X, Y)`` of a step, or ``(B, L, C, X, Y)`` of a rollout."""
        return self._frames.transpose(0, 1) if self._rollout else self._frames[0]


class Runner(ABC):
    """A forecast step on one runtime and device.

    Attributes
    ----------
    runtime : its name in `ptprof.runtimes.RUNTIMES`
    device : ``cpu`` or ``cuda:i``, where states are expected and results lie
    provider : what really runs, e.g. ``CPUExecutionProvider``
    metadata : what the file says about itself; None for a module and for a file that is not ptprof's
    state_shape : ``(h, C, X, Y)`` that the step takes; None where it does not say
    """

    runtime: ClassVar[str]
    provider: str
    metadata: Metadata | None = None
    state_shape: StateShape | None = None

    def __init__(self, device: str) -> None:
        self.device = resolve_device(device)

    @abstractmethod
    def bind(self, state: Tensor, steps: int | None = None) -> Query:
        """One query on ``state`` ``(B, h, C, X, Y)``: one step, or a rollout of ``steps`` steps.

        ``state`` is read at every call and never written; a contiguous one is not copied.

        Raises
        ------
        UsageError : a state that the step does not take, or one that is not on the runner's device
        """

    @abstractmethod
    def step(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step: ``next`` ``(B, C, X, Y)``, and the window ``(B, h, C, X, Y)`` that follows ``state``."""

    def rollout(self, state: Tensor, steps: int) -> Tensor:
        """``steps`` steps from ``state``, each fed with those before: ``(B, L, C, X, Y)``."""
        query = self.bind(state, steps)
        query()
        return query.result

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it."""
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)

    @abstractmethod
    def close(self) -> None:
        """Let go of the model; the runner cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def checked(self, state: Tensor, steps: int | None = None) -> Tensor:
        """``state``, contiguous, once it is one that the step takes; UsageError otherwise."""
        wanted = ("h", "C", "X", "Y") if self.state_shape is None else self.state_shape
        fits = state.ndim == 5 and self.state_shape in (None, tuple(state.shape[1:]))
        if not fits or state.shape[0] < 1:
            shape, takes = (", ".join(map(str, s)) for s in (state.shape, ("B", *wanted)))
            raise UsageError(f"a state of shape ({shape}) does not fit: the step takes ({takes})")
        if state.dtype != torch.float32:
            raise UsageError(f"a state of {state.dtype} does not fit: the step takes torch.float32")
        if torch.device(self.device) != state.device:
            raise UsageError(f"the state is on {state.device}, and the runner on {self.device}")
        if steps is not None and steps < 1:
            raise UsageError(f"a rollout has 1 step or more, not {steps}")
        return state.contiguous()


def closed(runtime: str) -> RuntimeUnavailable:
    """The error for a runner that is used after `Runner.close`."""
    return RuntimeUnavailable(f"this {runtime} runner is closed: open another")
