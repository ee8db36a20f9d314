"""How well models forecast, as tables, and the pictures that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from ptprof.plots import save
from ptprof.records import Accuracy, Scores
from ptprof.report import rollouts
from ptprof.report.accuracy import accuracy_over_rollout, physics_over_rollout
from ptprof.report.format import NONE, tiny
from ptprof.report.style import paragraph, row, table

if TYPE_CHECKING:
    from ptprof.train.evaluation import Evaluation, Example

STEPS = (1, 5, 10, 20)
"""Steps of a rollout that are shown, beside its last one."""

MEANINGS = (
    "long, middle, short: NMSE by band of wave numbers, mean over fields; divergence: ÷ the truth's velocity",
    "gradient; vorticity: VRMSE; spectrum: of kinetic energy, decades off; tracer: drift of its mean ÷ its",
    "deviation, relative error of its variance.",
)

LARGE = 1000.0


def tables(evaluations: Sequence[Evaluation]) -> RenderableType:
    """Accuracy at some steps of a rollout, then spectra and physics at its end, persistence below each."""
    lines = [(evaluation.model, evaluation.accuracy) for evaluation in evaluations]
    lines.append(("persistence", evaluations[0].persistence))
    last = min(len(accuracy.rollout) for _, accuracy in lines)
    return Group(_one_step(lines), _rollout(lines, last), _physics(lines, last), paragraph(MEANINGS))


def draw(evaluations: Sequence[Evaluation], examples: Sequence[Example], folder: Path) -> list[Path]:
    """Draw accuracy and physics over the rollout, each run's rollout, and each field's for several models."""
    models = {evaluation.model: evaluation.accuracy for evaluation in evaluations}
    persistence = evaluations[0].persistence
    drawn = [
        save(accuracy_over_rollout(models, persistence), folder / "accuracy.png"),
        save(physics_over_rollout(models, persistence), folder / "physics.png"),
    ]
    for evaluation, example in zip(evaluations, examples, strict=True):
        path = folder / f"rollout-{evaluation.run}.png"
        drawn.append(save(rollouts.rollout(example, evaluation.model), path))
    if len(models) > 1:
        by_model = dict(zip(models, examples, strict=True))
        for field in examples[0].fields:
            drawn.append(save(rollouts.comparison(by_model, field), folder / f"rollout-{field}.png"))
    return drawn


def _one_step(lines: Sequence[tuple[str, Accuracy]]) -> RenderableType:
    made = table(
        "One step, from every window", ("model",), ("r", "vrmse", "nrmse", "long", "middle", "short")
    )
    for name, accuracy in lines:
        scores = accuracy.one_step
        means = (scores.mean("pearson_r"), scores.mean("vrmse"), scores.mean("nrmse"))
        row(made, name, *map(_score, means), *_bands(scores))
    return made


def _rollout(lines: Sequence[tuple[str, Accuracy]], last: int) -> RenderableType:
    steps = sorted({step for step in STEPS if step < last} | {last})
    columns = [
        f"{name} {step}" if step == steps[0] else f"{step}" for name in ("r", "vrmse") for step in steps
    ]
    made = table("Rollout, by step; mean over fields", ("model",), columns)
    for name, accuracy in lines:
        chosen = [accuracy.rollout[step - 1] for step in steps]
        row(
            made,
            name,
            *(_score(scores.mean("pearson_r")) for scores in chosen),
            *(_score(scores.mean("vrmse")) for scores in chosen),
        )
    return made


def _physics(lines: Sequence[tuple[str, Accuracy]], last: int) -> RenderableType:
    made = table(
        f"Physics at step {last} of the rollout",
        ("model",),
        ("divergence", "vorticity", "spectrum", "tracer mean", "tracer variance"),
    )
    for name, accuracy in lines:
        p = accuracy.rollout[last - 1].physics
        row(
            made,
            name,
            tiny(p.divergence),
            _score(p.vorticity_vrmse),
            _score(p.energy_spectrum_error),
            tiny(p.tracer_mean_drift),
            _score(p.tracer_variance_error),
        )
    floor = lines[-1][1].rollout[last - 1].physics
    made.add_section()
    row(made, "the data", tiny(floor.divergence_truth), NONE, NONE, tiny(floor.tracer_mean_drift_truth), NONE)
    return made


def _bands(scores: Scores) -> list[str]:
    """Each band's mean over fields; all undefined where a field diverged."""
    bands = zip(*scores.spectral_nmse.values(), strict=True)
    return [tiny(None if None in band else sum(band) / len(band)) for band in bands]


def _score(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.3f}" if abs(value) < LARGE else f"{value:.1e}"
