"""Export: one stage over many models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from ptprof import choices
from ptprof import export as exporting
from ptprof.export import FORMATS
from ptprof.records import ArtifactRecord, FilePrecision, Spectral
from ptprof.runtimes.device import resolve_device
from ptprof.study import Study


def export(
    study: Study,
    models: Sequence[str] | None,
    *,
    run: str | None,
    formats: Sequence[str],
    nfe: int | None,
    force: bool,
    progress: Progress,
    recipe: str | None = None,
    spectral: Spectral = "gemm",
    precision: FilePrecision = "fp32",
    batch: int | None = None,
    data: Path | None = None,
    device: str = "cpu",
) -> list[ArtifactRecord]:
    """Export the newest run of each model (or ``run``) to each format, through the parity gate on ``device``.

    With ``nfe`` and nothing named the model that samples is meant, with ``spectral`` "fft" those that have
    spectral layers.
    """
    wanted = choices.chosen("format", formats, tuple(FORMATS))
    device = resolve_device(device)
    return [
        exporting.export(
            study,
            record,
            wanted,
            nfe=nfe,
            spectral=spectral,
            precision=precision,
            batch=batch,
            data=data,
            device=device,
            force=force,
            progress=progress,
        )
        for record in choices.with_weights(study, models, run, recipe, nfe, spectral)
    ]
