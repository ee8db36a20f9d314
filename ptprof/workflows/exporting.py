"""Export: one stage over many models."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import Progress

from ptprof import choices
from ptprof import export as exporting
from ptprof.export import FORMATS
from ptprof.records import ArtifactRecord
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
) -> list[ArtifactRecord]:
    """Export the newest run of each model (or ``run``) to each format, through the parity gate.

    With ``nfe`` and nothing named, the model that samples is meant.
    """
    wanted = choices.chosen("format", formats, tuple(FORMATS))
    return [
        exporting.export(study, record, wanted, nfe=nfe, force=force, progress=progress)
        for record in choices.with_weights(study, models, run, recipe, nfe)
    ]
