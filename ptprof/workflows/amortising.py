"""The answer, from a study or from a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptprof import choices
from ptprof.errors import UsageError
from ptprof.profile import costs, volume
from ptprof.profile.amortise import AmortiseReport
from ptprof.report import figures
from ptprof.study import Study


def amortise(
    study: Study,
    *,
    queries: Sequence[str],
    table: Path | None,
    models: Sequence[str] | None,
    scenario: str,
    device: str | None,
    runtime: str | None,
    batch: int,
    run: str | None,
    precision: str,
    nfe: int | None,
    intensity_g_per_kwh: float,
    pue: float,
    figure: Path | None,
    recipe: str | None = None,
) -> AmortiseReport:
    """Spread training over ``queries``, from the study or from a table, and draw it where asked to."""
    served_by = None if table is not None else study
    counts = [volume.queries(text, served_by, scenario) for text in queries]
    if table is not None and models:
        raise UsageError("a table brings its own models: name models for a study, or give --table alone")
    if table is not None:
        report = costs.amortise_table(table, counts)
    else:
        report = costs.amortise_study(
            study,
            counts,
            models=choices.known(models) if models and list(models) != ["all"] else None,
            scenario=scenario,
            device=device,
            runtime=runtime,
            batch=batch,
            run=run,
            precision=precision,
            nfe=nfe,
            recipe=recipe,
            intensity_g_per_kwh=intensity_g_per_kwh,
            pue=pue,
        )
    if figure is not None:
        figures.save(figures.cost_against_queries(report), figure)
    return report
