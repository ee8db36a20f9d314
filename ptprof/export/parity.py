"""How far an exported file is from the trained model, and whether that is only rounding.

Errors are relative L2 by field, over windows and grid: ‖value − reference‖ / ‖reference − mean‖, with the
field's mean over the training data. This is the error in standardised fields, in which neither the
unit nor the mean of a field counts; a plain relative error would divide by a mean that is there anyway.
The figure for all fields is the worst field's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ptprof.errors import ParityError
from ptprof.records import Parity, Statistics
from ptprof.runtimes import Runner
from ptprof.runtimes.noise import SEED, draw

FLOOR = 1e-6
"""Relative error that passes whatever fp32's own is."""

FACTOR = 2.0
"""An export may be this many times as far from float64 as the trained model in fp32 is."""


@dataclass(frozen=True)
class Reference:
    """What the trained model makes of some windows, in physical units.

    ``states`` ``(N, h, C, X, Y)`` are the windows; ``rollout`` ``(N, L, C, X, Y)`` is from the model in fp32
    as it was trained, ``exact`` ``(N, C, X, Y)`` its first step in float64. ``noise`` ``(N, L, C, X, Y)`` is
    what a model that samples was given.
    """

    states: Tensor
    rollout: Tensor
    exact: Tensor
    statistics: Statistics
    noise: Tensor | None = None

    def compare(self, runner: Runner) -> Parity:
        """Compare what ``runner`` makes of the windows, all in one batch, with the reference.

        Raises
        ------
        ParityError : values that are not finite, or a window that is not moved on by the step
        """
        states = self.states.to(runner.device)
        noise = None if self.noise is None else self.noise.to(runner.device)
        first = None if noise is None else noise[:, 0]
        one, state_out = (tensor.cpu() for tensor in runner.step(states, first))
        moved = torch.cat((self.states[:, 1:], one.unsqueeze(1)), dim=1)
        if not torch.isfinite(one).all():
            raise ParityError("it gives values that are not finite")
        if not torch.equal(state_out, moved):
            raise ParityError("its window is not moved on by the state that it forecasts")
        rollout = runner.rollout(states, self.rollout.shape[1], noise).cpu()
        if not torch.isfinite(rollout).all():
            raise ParityError(
                "its rollout gives values that are not finite, and the trained model's does not"
            )

        by_field = relative_errors(one, self.rollout[:, 0], self.statistics)
        reference = worst(relative_errors(self.rollout[:, 0], self.exact, self.statistics))
        return Parity(
            windows=len(self.states),
            rollout_steps=self.rollout.shape[1],
            one_step=worst(by_field),
            rollout=worst(relative_errors(rollout[:, -1], self.rollout[:, -1], self.statistics)),
            one_step_float64=worst(relative_errors(one, self.exact, self.statistics)),
            reference_float64=reference,
            gate=max(FLOOR, FACTOR * reference),
            by_field=by_field,
            provider=runner.provider,
        )


def reference(model: nn.Module, states: Tensor, statistics: Statistics, *, steps: int) -> Reference:
    """Roll ``model`` out from ``states`` ``(N, h, C, X, Y)``, physical units, one window at a time.

    The model is the trained one in fp32, its spectral layers neuraloperator's own, and it is rolled out as
    in the evaluation, in standardised fields; one that samples takes the noise that seed 0 gives. A rollout
    that stops being finite before ``steps`` steps ends there.

    Raises
    ------
    ParityError : the model's first step is not finite
    """
    twin = float64(model)
    noise = None
    if getattr(model, "takes_noise", False):
        count, _, *frame = states.shape
        noise = draw(SEED, count, steps, *frame)

    def rolled(model: nn.Module, dtype: torch.dtype, steps: int) -> Tensor:
        alone = torch.split(states.to(dtype), 1)
        noises = [None] * len(alone) if noise is None else torch.split(noise.to(dtype), 1)
        pairs = zip(alone, noises, strict=True)
        return torch.cat([_rollout(model, state, given, statistics, steps) for state, given in pairs])

    with torch.inference_mode():
        rollout = rolled(model, torch.float32, steps)
        with DoubleSpectra():
            exact = rolled(twin, torch.float64, 1)[:, 0]
    finite = torch.isfinite(rollout).all(dim=0).flatten(1).all(dim=1)
    length = int(finite.long().cumprod(0).sum())
    if length == 0 or not torch.isfinite(exact).all():
        raise ParityError(
            "the trained model gives values that are not finite: there is nothing to compare with"
        )
    used = None if noise is None else noise[:, :length]
    return Reference(states, rollout[:, :length], exact, statistics, used)


def gate(parity: Parity) -> None:
    """Raise ParityError unless the export is as near to float64 as fp32 rounding lets it be."""
    if parity.one_step_float64 > parity.gate:
        raise ParityError(
            f"its error against float64 is {parity.one_step_float64:.2e}, more than {parity.gate:.2e} "
            f"(the trained model's own in fp32 is {parity.reference_float64:.2e})"
        )


def relative_errors(value: Tensor, reference: Tensor, statistics: Statistics) -> dict[str, float]:
    """The relative L2 error of each field of ``value`` ``(N, C, X, Y)``, as the module defines it.

    Of a reference that is nowhere different from the mean the deviation stands in for the norm.
    """
    errors = {}
    for channel, (field, mean, std) in enumerate(
        zip(statistics.fields, statistics.mean, statistics.std, strict=True)
    ):
        wanted = reference[:, channel].double()
        error = torch.linalg.vector_norm(value[:, channel].double() - wanted)
        norm = torch.linalg.vector_norm(wanted - mean)
        errors[field] = float(error / (norm if norm > 0 else std * wanted.numel() ** 0.5))
    return errors


def worst(errors: Mapping[str, float]) -> float:
    """The largest of the fields' errors."""
    return max(errors.values())


def float64(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in float64, its complex weights too."""
    twin = copy.deepcopy(model)
    for tensor in (*twin.parameters(), *twin.buffers()):
        if tensor.is_complex():
            tensor.data = tensor.data.to(torch.complex128)
        elif tensor.is_floating_point():
            tensor.data = tensor.data.double()
    return twin


class DoubleSpectra(TorchFunctionMode):
    """Keeps float64 in neuraloperator 2.0.0, which puts every spectrum into complex64."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if options.get("dtype") is torch.complex64:
            options["dtype"] = torch.complex128
        return func(*args, **options)


def _rollout(
    model: nn.Module, state: Tensor, noise: Tensor | None, statistics: Statistics, steps: int
) -> Tensor:
    """``steps`` steps from ``state`` ``(1, h, C, X, Y)``, in its dtype: ``(1, L, C, X, Y)``.

    ``noise`` is ``(1, L, C, X, Y)``, or None where the model takes none.
    """
    mean, std = (
        torch.tensor(values, dtype=state.dtype).reshape(-1, 1, 1)
        for values in (statistics.mean, statistics.std)
    )
    window = ((state - mean) / std).flatten(1, 2)
    forecasts = []
    for step in range(steps):
        following = model(window) if noise is None else model(window, noise[:, step])
        forecasts.append(following * std + mean)
        window = torch.cat((window[:, following.shape[1] :], following), dim=1)
    return torch.stack(forecasts, dim=1)
