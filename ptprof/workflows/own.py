"""Export of a user's own module, and of what is exported to a repository for Triton."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from ptprof import choices
from ptprof.errors import DataError, UsageError
from ptprof.export import FORMATS
from ptprof.export import triton as repository
from ptprof.export.factory import load_module
from ptprof.export.own import examples, export_module
from ptprof.records import ArtifactFile, ModuleArtifact
from ptprof.study import sha256


def export_own(
    source: str,
    *,
    checkpoint: Path | None,
    grid: str | None,
    channels: int | None,
    inputs: Path | None,
    formats: Sequence[str],
    folder: Path | None,
    spectral: str,
    batch: int | None,
    device: str,
    force: bool,
    progress: Progress,
) -> tuple[ModuleArtifact, Path]:
    """Export the module that ``source`` makes into ``folder``; what was written, and where.

    It is proven on the samples in ``inputs``, or on random ones of ``channels`` on ``grid``, such as 64x128.

    Raises
    ------
    UsageError : neither inputs nor a grid and channels, no folder
    DataError : inputs that cannot be used
    and what `load_module` and `export_module` raise
    """
    wanted = choices.chosen("format", formats, tuple(FORMATS))
    if folder is None:
        raise UsageError("a model of your own needs --out, a folder for its files")
    if inputs is not None and (grid or channels):
        raise UsageError("--inputs has a grid and channels of its own: leave out --grid and --channels")
    if inputs is not None:
        samples = samples_of(inputs)
    elif grid is not None and channels is not None:
        samples = examples(channels, sides(grid))
    else:
        raise UsageError("a model of your own needs --grid and --channels, or --inputs with its data")
    artifact = export_module(
        load_module(source, checkpoint),
        samples,
        folder,
        wanted,
        name=source.rpartition(":")[2],
        spectral=spectral,
        batch=batch,
        device=device,
        synthetic=inputs is None,
        checkpoint_sha256=None if checkpoint is None else sha256(checkpoint),
        force=force,
        progress=progress,
    )
    return artifact, folder


def sides(grid: str) -> tuple[int, int]:
    """``64x128`` as (64, 128), of a user's own model any sides; UsageError where it is written otherwise."""
    try:
        X, Y = (int(side) for side in grid.lower().split("x"))
    except ValueError:
        X = Y = 0
    if min(X, Y) < 1:
        raise UsageError(f"a grid is written 64x128, not {grid!r}")
    return X, Y


def samples_of(path: Path) -> Tensor:
    """The samples ``(N, C, X, Y)`` in a file of NumPy's; DataError where there are none in it."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path} is not there") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is cut or no .npy file") from error
    if not isinstance(array, np.ndarray) or array.ndim < 2 or not array.size or array.dtype.kind not in "fiu":
        raise DataError(f"{path} does not hold samples: a .npy of real numbers, (samples, channels, X, Y)")
    if not np.isfinite(array).all():
        raise DataError(f"{path} holds values that are not finite")
    return torch.from_numpy(array.astype(np.float32))


def write_repository(
    folder: Path,
    exported: Iterable[tuple[str, Path, Sequence[ArtifactFile]]],
    formats: Sequence[str],
    variant: str,
    *,
    max_batch: int,
    force: bool,
) -> list[Path]:
    """Write what was exported into a Triton model repository; the folders of the models are returned.

    Parameters
    ----------
    exported : of each model its name, the folder of its files, and what they are
    formats, variant : which of the files; the model is named after itself and the variant, and
        ``-torchscript`` is added where ONNX is written too
    max_batch : the most samples that Triton may put into one call
    force : replace models that are there already

    Raises
    ------
    UsageError : a format without a backend, a model that is there already; nothing is written then
    """
    wanted = choices.chosen("format for Triton", formats, tuple(repository.BACKENDS))
    planned = [
        (name, file.format, source / file.name)
        for model, source, files in exported
        for known, name in repository.names(wanted, model, variant).items()
        for file in files
        if (file.format, file.variant) == (known, variant)
    ]
    there = [folder / name for name, _, _ in planned if (folder / name).exists()]
    if there and not force:
        raise UsageError(f"{there[0]} is there already: --force replaces it")
    return [
        repository.write_model(folder, name, known, file, max_batch=max_batch, force=force)
        for name, known, file in planned
    ]
