"""How far an exported file is from the trained model, and whether that is only rounding.

Errors are relative L2 by field, over windows and grid: ‖value − reference‖ / ‖reference − mean‖, with the
field's mean over the training data. This is the error in standardised fields, in which neither the
unit nor the mean of a field counts; a plain relative error would divide by a mean that is there anyway.
The figure for all fields is the worst field's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ptprof.errors import ParityError
from ptprof.records import FieldErrors, Parity, Statistics
from ptprof.runtimes import Runner

FLOOR = 1e-6
"""Relative error that passes whatever fp32's own is."""

FACTOR = 2.0
"""An export may be this many times as far from float64 as the trained model in fp32 is."""

BOUNDS = {"bf16": 2e-2, "tf32": 3e-3}
"""Where fewer bits are kept, the error that an export may have: about five units in their last place.

bfloat16 keeps 8 bits (2⁻⁸ = 3.9e-3), TF32 11 (2⁻¹¹ = 4.9e-4) of a number.
"""


def limit(precision: str, own: float) -> float:
    """What the error against float64 may be after one step, where fp32's own is ``own``."""
    return BOUNDS.get(precision, max(FLOOR, FACTOR * own))


def gate(parity: Parity) -> None:
    """Raise ParityError unless the export is as near to float64 as its precision lets it be."""
    if parity.one_step_float64 > parity.gate:
        raise ParityError(
            f"its error against float64 is {parity.one_step_float64:.2e}, more than {parity.gate:.2e} "
            f"(the trained model's own in fp32 is {parity.reference_float64:.2e})"
        )


def relative_errors(value: Tensor, reference: Tensor, statistics: Statistics) -> dict[str, float]:
    """The relative L2 error of each field of ``value`` ``(N, C, …)``, as the module defines it.

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


@dataclass(frozen=True)
class Reference:
    """What the trained model makes of some windows, in physical units.

    ``states`` ``(N, h, C, X, Y)`` are the windows; ``rollout`` ``(N, L, C, X, Y)`` is from the model in fp32
    as it was trained, ``exact`` from the same in float64. ``noise`` is what a model that samples was given.
    """

    states: Tensor
    rollout: Tensor
    exact: Tensor
    statistics: Statistics
    noise: Tensor | None = None

    def compare(self, runner: Runner, precision: str = "fp32") -> Parity:
        """Compare what ``runner``, computing in ``precision``, makes of the windows, all in one batch.

        A runner that takes one size of a batch is given the windows in batches of that size.

        Raises
        ------
        ParityError : values that are not finite, or a window that is not moved on by the step
        """
        one, state_out, rollout = self._computed(runner)
        moved = torch.cat((self.states[:, 1:], one.unsqueeze(1)), dim=1)
        if not torch.isfinite(one).all():
            raise ParityError("it gives values that are not finite")
        if not torch.equal(state_out, moved):
            raise ParityError("its window is not moved on by the state that it forecasts")
        if not torch.isfinite(rollout).all():
            raise ParityError(
                "its rollout gives values that are not finite, and the trained model's does not"
            )
        trained, last, exact, exact_last, own, own_last = (
            relative_errors(value, reference, self.statistics)
            for value, reference in (
                (one, self.rollout[:, 0]),
                (rollout[:, -1], self.rollout[:, -1]),
                (one, self.exact[:, 0]),
                (rollout[:, -1], self.exact[:, -1]),
                (self.rollout[:, 0], self.exact[:, 0]),
                (self.rollout[:, -1], self.exact[:, -1]),
            )
        )
        return Parity(
            windows=len(self.states),
            rollout_steps=self.rollout.shape[1],
            one_step=worst(trained),
            rollout=worst(last),
            one_step_float64=worst(exact),
            rollout_float64=worst(exact_last),
            reference_float64=worst(own),
            reference_rollout_float64=worst(own_last),
            gate=limit(precision, worst(own)),
            by_field={
                field: FieldErrors(
                    one_step=trained[field],
                    rollout=last[field],
                    one_step_float64=exact[field],
                    rollout_float64=exact_last[field],
                )
                for field in trained
            },
            device=runner.device,
            provider=runner.provider,
            providers=runner.providers,
        )

    def _computed(self, runner: Runner) -> tuple[Tensor, Tensor, Tensor]:
        """One step ``(N, C, X, Y)``, the windows that follow, and a rollout ``(N, L, C, X, Y)``."""
        steps = self.rollout.shape[1]
        parts = []
        for chosen in batches(len(self.states), runner.batch):
            states = self.states[chosen].to(runner.device)
            noise = None if self.noise is None else self.noise[chosen].to(runner.device)
            one, state_out = runner.step(states, None if noise is None else noise[:, 0])
            rollout = runner.rollout(states, steps, noise)
            parts.append([tensor.cpu()[: len(chosen)] for tensor in (one, state_out, rollout)])
        one, state_out, rollout = (
            torch.cat(tensors)[: len(self.states)] for tensors in zip(*parts, strict=True)
        )
        return one, state_out, rollout


@dataclass(frozen=True)
class MapReference:
    """What a trained model that is no forecast step makes of ``inputs``: in fp32, and in float64."""

    inputs: Tensor
    trained: Tensor
    exact: Tensor
    field: str

    def compare(self, runner: Runner, precision: str = "fp32") -> Parity:
        """As `Reference.compare`."""
        parts = [
            runner.step(self.inputs[chosen].to(runner.device))[0].cpu()
            for chosen in batches(len(self.inputs), runner.batch)
        ]
        value = torch.cat(parts)[: len(self.inputs)]
        if not torch.isfinite(value).all():
            raise ParityError("it gives values that are not finite")
        zero = Statistics(fields=(self.field,), mean=(0.0,), std=(1.0,))
        from_trained, from_exact, own = (
            worst(relative_errors(one.unsqueeze(1), other.unsqueeze(1), zero))
            for one, other in ((value, self.trained), (value, self.exact), (self.trained, self.exact))
        )
        return Parity(
            windows=len(self.inputs),
            rollout_steps=0,
            one_step=from_trained,
            rollout=None,
            one_step_float64=from_exact,
            reference_float64=own,
            gate=limit(precision, own),
            by_field={
                self.field: FieldErrors(
                    one_step=from_trained, rollout=None, one_step_float64=from_exact, rollout_float64=None
                )
            },
            device=runner.device,
            provider=runner.provider,
            providers=runner.providers,
        )


def batches(count: int, size: int | None) -> list[Tensor]:
    """The indices of ``count`` samples in batches of ``size``, the last filled up from the first ones."""
    size = size or count
    return [torch.arange(begin, begin + size) % count for begin in range(0, count, size)]
