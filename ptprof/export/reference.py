"""What a trained model computes, in fp32 and in float64: what an exported file is compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ptprof.errors import ParityError
from ptprof.export.parity import MapReference, Reference, relative_errors, worst
from ptprof.records import Statistics
from ptprof.runtimes.allocator import keep_memory
from ptprof.runtimes.noise import SEED, draw

NOTHING = "the trained model gives values that are not finite: there is nothing to compare with"


def of_forecaster(
    model: nn.Module, states: Tensor, statistics: Statistics, *, steps: int, device: str = "cpu"
) -> Reference:
    """Roll ``model`` out from ``states`` ``(N, h, C, X, Y)``, physical units, one window at a time.

    The model is the trained one in fp32, its spectral layers neuraloperator's own, and it is rolled out as
    in the evaluation, in standardised fields; one that samples takes the noise that seed 0 gives. A rollout
    that stops being finite before ``steps`` steps ends there.

    Parameters
    ----------
    device : where it computes. What its spectral layers mean is defined on the CPU: a GPU's inverse transform
        takes a spectrum for Hermitian that is not

    Raises
    ------
    ParityError : the model's first step is not finite
    """
    noise = noise_of(model, states, steps)
    keep_memory()
    rollout = _rolled(model, states, noise, statistics, steps, torch.float32, device)
    with DoubleSpectra():
        exact = _rolled(float64(model), states, noise, statistics, steps, torch.float64, device)
    finite = torch.isfinite(torch.cat((rollout, exact))).all(dim=0).flatten(1).all(dim=1)
    length = int(finite.long().cumprod(0).sum())
    if length == 0:
        raise ParityError(NOTHING)
    used = None if noise is None else noise[:, :length]
    return Reference(states, rollout[:, :length], exact[:, :length], statistics, used)


def of_map(model: nn.Module, inputs: Tensor, field: str) -> MapReference:
    """What ``model`` makes of ``inputs`` ``(N, …)`` in fp32 and in float64; ``field`` names its output.

    Raises
    ------
    ParityError : values that are not finite
    """
    twin = float64(model)
    single = copy.deepcopy(model).float()
    with torch.inference_mode():
        trained = single(inputs.float())
        with DoubleSpectra():
            exact = twin(inputs.double())
    if not (torch.isfinite(trained).all() and torch.isfinite(exact).all()):
        raise ParityError(NOTHING)
    return MapReference(inputs.float(), trained, exact, field)


def device_difference(model: nn.Module, states: Tensor, statistics: Statistics, device: str) -> float | None:
    """How far ``model`` on ``device`` is from itself on the CPU after one step; None where that is the CPU.

    Of neuraloperator's spectral layers on a GPU this is more than rounding, and no error of an export.
    """
    if device == "cpu":
        return None
    noise = noise_of(model, states, 1)
    here, there = (
        _rolled(model, states, noise, statistics, 1, torch.float32, place)[:, 0] for place in ("cpu", device)
    )
    return worst(relative_errors(there, here, statistics))


def noise_of(model: nn.Module, states: Tensor, steps: int) -> Tensor | None:
    """The noise ``(N, L, C, X, Y)`` that seed 0 gives for ``states``; None where the model takes none."""
    if not getattr(model, "takes_noise", False):
        return None
    count, _, *frame = states.shape
    return draw(SEED, count, steps, *frame)


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


def _rolled(
    model: nn.Module,
    states: Tensor,
    noise: Tensor | None,
    statistics: Statistics,
    steps: int,
    dtype: torch.dtype,
    device: str,
) -> Tensor:
    """``steps`` steps of each window by itself, computed in ``dtype`` on ``device``: ``(N, L, C, X, Y)``."""
    there = model if device == "cpu" else copy.deepcopy(model).to(device)
    alone = torch.split(states.to(device, dtype), 1)
    noises = [None] * len(alone) if noise is None else torch.split(noise.to(device, dtype), 1)
    with torch.inference_mode():
        each = [
            _rollout(there, state, given, statistics, steps)
            for state, given in zip(alone, noises, strict=True)
        ]
    return torch.cat(each).cpu()


def _rollout(
    model: nn.Module, state: Tensor, noise: Tensor | None, statistics: Statistics, steps: int
) -> Tensor:
    """``steps`` steps from ``state`` ``(1, h, C, X, Y)``, in its dtype: ``(1, L, C, X, Y)``.

    ``noise`` is ``(1, L, C, X, Y)``, or None where the model takes none.
    """
    mean, std = (
        torch.tensor(values, dtype=state.dtype, device=state.device).reshape(-1, 1, 1)
        for values in (statistics.mean, statistics.std)
    )
    window = ((state - mean) / std).flatten(1, 2)
    forecasts = []
    for step in range(steps):
        following = model(window) if noise is None else model(window, noise[:, step])
        forecasts.append(following * std + mean)
        window = torch.cat((window[:, following.shape[1] :], following), dim=1)
    return torch.stack(forecasts, dim=1)
