"""What every runtime offers: a step, a rollout, and queries bound to their buffers to be timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from ptprof.errors import RuntimeUnavailable, UsageError
from ptprof.runtimes.device import resolve_device
from ptprof.runtimes.metadata import Metadata, Signature
from ptprof.runtimes.noise import Noise

StateShape = tuple[int, int, int, int]


def answer_shape(state: Tensor, steps: int | None, signature: Signature | None = None) -> tuple[int, ...]:
    """The shape of what a query on ``state`` answers: ``(B, C, X, Y)``, or ``(B, L, C, X, Y)`` of a rollout.

    With a ``signature`` it is the shape of what that gives, the batch first.
    """
    batch, _, *frame = state.shape
    shape = frame if signature is None else signature.gives
    return (batch, *shape) if steps is None else (batch, steps, *shape)


class Query(Protocol):
    """A forecast from one fixed batch of states; calling it computes it anew into the same buffers.

    On a GPU a call may return before the work is done: `Runner.synchronize` waits for it.
    """

    @property
    def result(self) -> Tensor:
        """What the last call computed: ``(B, C, X, Y)`` for a step, ``(B, L, C, X, Y)`` for a rollout.

        Of a model with a `Signature` of its own, its output.
        """

    def __call__(self) -> None: ...


class Frames:
    """Room for the states that a query computes: one, or one for each of ``steps`` steps.

    Frames lead with the step, so that each is one contiguous block that a runtime can write into. They
    hold NaN until the first call. With a ``signature`` it is room for what that gives.
    """

    def __init__(self, state: Tensor, steps: int | None, signature: Signature | None = None) -> None:
        batch, *shape = answer_shape(state, None, signature)
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
    runtime : its name; see `ptprof.runtimes.runtimes`
    reads : the format of the files that it runs; None where it runs a module
    device : ``cpu`` or ``cuda:i``, where states are expected and results lie
    provider : what really runs, e.g. ``CPUExecutionProvider``
    providers : all that stand behind it, where there are several
    metadata : what the file says about itself; None for a module and for a file that is not ptprof's
    signature : what a model takes and gives that is no forecast step; None for a step
    state_shape : ``(h, C, X, Y)`` that the step takes; None where it does not say
    batch : the only number of states in a batch that it takes; None for any
    takes_noise : whether the step samples its forecast, from noise ``(B, C, X, Y)``
    nfe : how often it evaluates its network, where it samples its forecast and says so
    """

    runtime: ClassVar[str]
    reads: ClassVar[str | None] = None
    provider: str
    providers: tuple[str, ...] = ()
    metadata: Metadata | None = None
    signature: Signature | None = None
    state_shape: StateShape | None = None
    batch: int | None = None
    takes_noise: bool = False
    nfe: int | None = None

    def __init__(self, device: str) -> None:
        self.device = resolve_device(device)

    @classmethod
    def available(cls, device: str, precision: str = "fp32") -> str:
        """What would run on ``device``; RuntimeUnavailable where it cannot, as far as that is known."""
        return f"{cls.runtime} {torch.device(device).type}"

    @abstractmethod
    def bind(self, state: Tensor, steps: int | None = None, noise: Tensor | None = None) -> Query:
        """One query on ``state`` ``(B, h, C, X, Y)``: one step, or a rollout of ``steps`` steps.

        ``state`` is read at every call and never written; a contiguous one is not copied. Where the step
        takes noise, every call draws it from seed 0, which makes drawing a part of the query as it is a part
        of a deployment; ``noise`` that is given, ``(B, C, X, Y)`` or ``(B, L, C, X, Y)`` of a rollout, stays
        on the device and costs nothing.

        Raises
        ------
        UsageError : a state or noise that the step does not take, or that is not on the runner's device
        """

    @abstractmethod
    def step(self, state: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step: ``next`` ``(B, C, X, Y)``, and the window ``(B, h, C, X, Y)`` that follows ``state``.

        Where the step takes noise, None draws that of seed 0; see `ptprof.runtimes.noise.draw`. A model with
        a `Signature` of its own gives its output, and its input as it was.
        """

    def rollout(self, state: Tensor, steps: int, noise: Tensor | None = None) -> Tensor:
        """``steps`` steps from ``state``, each fed with those before: ``(B, L, C, X, Y)``.

        Where the step takes noise it is ``(B, L, C, X, Y)``; None draws that of seed 0, fresh for every step.
        """
        query = self.bind(state, steps, noise)
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

    def describe(self, metadata: Metadata | None, precision: str = "fp32") -> None:
        """Take over what a file says about itself.

        Raises
        ------
        UsageError : a file that computes in another ``precision``
        """
        self.metadata = metadata
        if metadata is None:
            return
        if metadata.precision != precision:
            raise UsageError(
                f"this file of {metadata.run} computes in {metadata.precision}, not {precision}: "
                f"export it with --precision {precision}"
            )
        self.signature = metadata.signature
        self.state_shape = metadata.state_shape
        self.batch = metadata.batch
        self.nfe = metadata.nfe

    def describe_module(self, module: nn.Module) -> None:
        """Take over what a module says about itself, such as `ptprof.export.DeployableStep`."""
        self.signature = getattr(module, "signature", None)
        self.state_shape = getattr(module, "state_shape", None)
        self.takes_noise = bool(getattr(module, "takes_noise", False))
        self.nfe = getattr(module, "nfe", None)

    def checked(self, state: Tensor, steps: int | None = None) -> Tensor:
        """``state``, contiguous, once it is one that the step takes; UsageError otherwise."""
        named, kind = "a state", "step"
        wanted: tuple[object, ...] = ("h", "C", "X", "Y") if self.state_shape is None else self.state_shape
        fits = state.ndim == 5 and self.state_shape in (None, tuple(state.shape[1:]))
        if self.signature is not None:
            named, kind, wanted = self.signature.input, "model", self.signature.takes
            fits = state.ndim > 0 and tuple(state.shape[1:]) == wanted
            if steps is not None:
                raise UsageError(
                    f"a rollout needs a model that forecasts states: this one takes {named} and gives "
                    f"{self.signature.output}, one step only"
                )
        if not fits or len(state) != (self.batch or max(len(state), 1)):
            shape, takes = (", ".join(map(str, s)) for s in (state.shape, (self.batch or "B", *wanted)))
            raise UsageError(f"{named} of shape ({shape}) does not fit: the {kind} takes ({takes})")
        if state.dtype != torch.float32:
            raise UsageError(f"{named} of {state.dtype} does not fit: the {kind} takes torch.float32")
        if torch.device(self.device) != state.device:
            raise UsageError(f"{named} is on {state.device}, and the runner on {self.device}")
        if steps is not None and steps < 1:
            raise UsageError(f"a rollout has 1 step or more, not {steps}")
        return state.contiguous()

    def noise(self, state: Tensor, steps: int | None, given: Tensor | None) -> Noise:
        """What each step of a query on ``state`` takes as noise; UsageError where ``given`` does not fit."""
        if not self.takes_noise:
            if given is not None:
                raise UsageError("this step takes no noise: leave it out")
            return Noise.none(steps)
        if given is None:
            return Noise.drawn(state, steps)
        batch, _, *frame = state.shape
        wanted = (batch, *frame) if steps is None else (batch, steps, *frame)
        if tuple(given.shape) != wanted:
            shape, takes = (", ".join(map(str, s)) for s in (given.shape, wanted))
            raise UsageError(f"noise of shape ({shape}) does not fit: the query takes ({takes})")
        if (given.dtype, given.device) != (state.dtype, state.device):
            raise UsageError(
                f"noise of {given.dtype} on {given.device} does not fit: the state is of {state.dtype} on"
                f" {state.device}"
            )
        return Noise.given(given, steps)


def closed(runtime: str) -> RuntimeUnavailable:
    """The error for a runner that is used after `Runner.close`."""
    return RuntimeUnavailable(f"this {runtime} runner is closed: open another")
