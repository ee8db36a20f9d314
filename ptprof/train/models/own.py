"""Forecasters of plugins: made by others' code, and looked over before anything is spent on them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ptprof.errors import StudyError, TrainingError
from ptprof.plugins import ModelPlugin
from ptprof.plugins.importing import FAULTS, in_words, quiet
from ptprof.records import ModelRecord
from ptprof.train.recipe import own_models

SAMPLES = 2
"""Windows in the batch that a model is tried with; it has to take one by itself too."""

SAME, CLOSE = 1e-5, 1e-3
"""How far a forecast may differ, of the largest value: asked again, and when others are in its batch."""


def build(plugin: ModelPlugin, in_channels: int, out_channels: int, grid: tuple[int, int]) -> nn.Module:
    """What the plugin's code makes, its weights newly initialised; TrainingError where that is no module."""
    try:
        with quiet():
            module = plugin.make(in_channels, out_channels, grid)
    except FAULTS as error:
        raise _fault(plugin, f"fails with {in_words(error)}") from error
    if not isinstance(module, nn.Module):
        raise _fault(plugin, f"gives a {type(module).__name__}, not a torch.nn.Module")
    tensors = [*module.parameters(), *module.buffers()]
    if elsewhere := [tensor for tensor in tensors if tensor.device.type != "cpu"]:
        raise _fault(plugin, f"puts weights on {elsewhere[0].device}: leave them on the CPU")
    return module


def check(
    plugin: ModelPlugin, module: nn.Module, in_channels: int, out_channels: int, grid: tuple[int, int]
) -> None:
    """Try ``module`` on random windows: what training, export and serving rely on has to hold.

    Raises
    ------
    TrainingError : it has no weights to train, fails, gives another shape, values that are not finite, or
        something else for the same window when it is asked again or in another batch
    """
    if not any(weight.requires_grad for weight in module.parameters()):
        raise _fault(plugin, "has no weights that could be trained")
    generator = torch.Generator().manual_seed(0)
    windows, others = (torch.randn(SAMPLES, in_channels, *grid, generator=generator) for _ in range(2))
    training = module.training
    try:
        with quiet():
            given = [module.eval()(x) for x in (windows, others, windows, windows[:1])]
    except FAULTS as error:
        raise _fault(plugin, f"cannot take windows {_times(windows)}: {in_words(error)}") from error
    finally:
        module.train(training)
    for fault in _faults(given, out_channels, grid):
        raise _fault(plugin, fault)


def check_source(run: ModelRecord) -> None:
    """Raise StudyError, in one line, unless the code that made ``run`` is here and as it was."""
    if run.plugin is None:
        return
    made, found = run.plugin.name, own_models().get(run.model)
    if found is None:
        raise StudyError(
            f"{run.run} is a model of the plugin {made}, which is not here: `ptprof --plugin {made} …`"
        )
    if found.source.sha256 != run.plugin.sha256:
        raise StudyError(
            f"{found.source.name} is not the code that {run.run} was trained with ({made}, SHA-256"
            f" {run.plugin.sha256[:12]}): restore the file, or train {run.model} again with --force"
        )


def _faults(given: list[Tensor], out_channels: int, grid: tuple[int, int]) -> Iterator[str]:
    wanted = (SAMPLES, out_channels, *grid)
    for output in given[:1]:
        if not isinstance(output, Tensor):
            yield f"gives a {type(output).__name__}, not a tensor"
        elif output.shape != wanted:
            yield f"gives {_times(output)}, not {'×'.join(map(str, wanted))}"
        elif output.dtype != torch.float32:
            yield f"gives {output.dtype}, not float32"
        elif not torch.isfinite(output).all():
            yield "gives values that are not finite, for standard normal windows"
        elif not output.requires_grad:
            yield "gives what has no gradient: is something of it detached, or under torch.no_grad?"
    first, _, again, alone = given
    if _apart(first, again) > SAME:
        yield "gives something else for the same windows when asked again: in eval mode it may hold no state"
    elif alone.shape != first[:1].shape:
        yield f"gives {_times(alone)} for one window: the size of a batch must be free"
    elif _apart(first[:1], alone) > CLOSE:
        yield "gives something else for a window when others are in its batch"


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, of the largest value; without end where shapes or values do not compare."""
    if a.shape != b.shape or not torch.isfinite(b).all():
        return math.inf
    with torch.no_grad():
        return float((a - b).abs().max() / a.abs().max().clamp(min=torch.finfo(a.dtype).tiny))


def _fault(plugin: ModelPlugin, what: str) -> TrainingError:
    return TrainingError(f"{plugin.name} of the plugin {plugin.source.name} {what}")


def _times(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
