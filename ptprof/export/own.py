"""A user's own module as files, each through the parity gate."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn

from ptprof.environment import environment
from ptprof.errors import ExportError, RuntimeUnavailable, UsageError
from ptprof.export import parity, reference
from ptprof.export.artifact import FORMATS, FormatName, known_format
from ptprof.export.capture import tried
from ptprof.export.exporter import DEFAULT_FORMATS, WRITERS
from ptprof.export.flops import flops_of_module
from ptprof.export.lowering import check_layers, lower
from ptprof.export.onnx import OPSET
from ptprof.export.step import DeployableMap
from ptprof.plugins.importing import FAULTS, in_words
from ptprof.records import ArtifactFile, ModuleArtifact, Spectral, variant_of
from ptprof.runtimes import open_runner
from ptprof.runtimes.device import resolve_device
from ptprof.runtimes.metadata import Metadata, Signature
from ptprof.runtimes.pt2 import target
from ptprof.study import atomic, now, sha256, write_record
from ptprof.train.models import parameter_count

INPUT, OUTPUT = "input", "output"
RECORD = "artifact.json"
SAMPLES = 2
SEED = 0


def examples(channels: int, grid: tuple[int, int]) -> Tensor:
    """Standard normal inputs ``(B, C, X, Y)`` for a parity that has no data, the same at every call."""
    return torch.randn(SAMPLES, channels, *grid, generator=torch.Generator().manual_seed(SEED))


def export_module(
    module: nn.Module,
    inputs: Tensor,
    folder: Path | str,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    name: str | None = None,
    spectral: str = "auto",
    batch: int | None = None,
    device: str = "cpu",
    synthetic: bool = False,
    checkpoint_sha256: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ModuleArtifact:
    """Export ``module`` to each of ``formats`` in ``folder``, and keep a file only if it computes the same.

    Parameters
    ----------
    module : takes one tensor ``(B, C, X, Y)`` and gives one, the batch first; on the CPU. What of it is
        supported, `ptprof.export.lower` says
    inputs : samples ``(N, C, X, Y)`` of its data, for the parity; their grid is that of the files
    name : of the model; that of its class otherwise
    spectral : how its spectral layers compute in a TorchScript file, as for `lower`; all others take products
    batch : the only size of a batch that the files take; None for any
    device : where the files are proven; a ``.pt2`` runs there only
    synthetic : whether ``inputs`` are no data, which the record then says
    checkpoint_sha256 : of the file that the weights came from
    force : export again what is there

    Returns
    -------
    what was written, which is also in ``folder`` as ``artifact.json``

    Raises
    ------
    UsageError : files that are there already, a format or a device that is not known
    RuntimeUnavailable : a device, an execution provider or a compiler that is not here
    ExportError : a module that cannot be lowered or that a format cannot hold
    ParityError : a file that does not compute what the module does; it is not kept
    """
    wanted, folder = [known_format(known) for known in formats], Path(folder)
    device, name = resolve_device(device), name or type(module).__name__
    paths = [folder / FORMATS[known].file(variant_of(batch=batch)) for known in wanted]
    there = [path for path in (*paths, folder / RECORD) if path.exists()]
    if there and not force:
        raise UsageError(f"{there[0]} is there already: --force exports it again")
    expected = _expected(module.eval(), inputs)
    signature = Signature(
        input=INPUT, takes=tuple(inputs.shape[1:]), output=OUTPUT, gives=tuple(expected.trained.shape[1:])
    )
    task = progress.add_task(f"export {name}", total=len(wanted)) if progress is not None else None
    files = []
    for known, path in zip(wanted, paths, strict=True):
        layers = spectral if known == "torchscript" else "gemm"
        step = DeployableMap(lower(module, inputs[:1].float(), spectral=layers), signature).eval()
        said = Metadata(
            model=name,
            run=name,
            signature=signature,
            fields=(OUTPUT,),
            units={},
            checkpoint_sha256=checkpoint_sha256,
            batch=batch,
            spectral=_computed_by(step),
            parameters=parameter_count(module),
            flops=flops_of_module(step, *step.example(1)).total,
            target=target(device) if known == "pt2" else None,
            versions=environment().libraries,
        )
        files.append(_write(step, said, known, path, expected, device, synthetic))
        if progress is not None and task is not None:
            progress.advance(task)
    record = ModuleArtifact(
        model=name,
        takes=signature.takes,
        gives=signature.gives,
        checkpoint_sha256=checkpoint_sha256,
        files=tuple(files),
        environment=environment(),
        created=now(),
    )
    write_record(folder / RECORD, record)
    return record


def _expected(module: nn.Module, inputs: Tensor) -> parity.MapReference:
    """What ``module``, as it is, makes of ``inputs``; ExportError where that is not one tensor to another."""
    check_layers(module)
    try:
        with torch.inference_mode():
            given = module(inputs.float())
        if isinstance(given, Tensor) and given.shape[:1] == inputs.shape[:1]:
            return reference.of_map(module, inputs, OUTPUT)
    except FAULTS as error:
        shape = "×".join(map(str, inputs.shape))
        raise ExportError(f"the model does not take an input of {shape}: {in_words(error)}") from error
    raise ExportError("the model has to give one tensor, its batch first: wrap it in a module that does")


def _write(
    step: DeployableMap,
    metadata: Metadata,
    known: FormatName,
    path: Path,
    expected: parity.MapReference,
    device: str,
    synthetic: bool,
) -> ArtifactFile:
    """Write one file, through the gate."""
    try:
        with atomic(path) as temporary:
            WRITERS[known](step, metadata, temporary)
            with tried(), open_runner(FORMATS[known].runtime, temporary, device=device) as runner:
                measured = expected.compare(runner)
            parity.gate(measured)
            digest, size = sha256(temporary), temporary.stat().st_size
    except (ExportError, RuntimeUnavailable) as error:
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # where nothing else is in it
        raise type(error)(f"{metadata.model} as {known}: {error}") from error
    return ArtifactFile(
        name=path.name,
        format=known,
        variant=variant_of(batch=metadata.batch),
        sha256=digest,
        size_bytes=size,
        opset=OPSET if known == "onnx" else None,
        parity=measured.model_copy(update={"synthetic": synthetic}),
    )


def _computed_by(step: nn.Module) -> Spectral:
    """``fft`` where some layer transforms by FFT."""
    return "fft" if any(value.is_complex() for value in step.parameters()) else "gemm"
