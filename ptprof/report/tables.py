"""What each command prints: records in, something that rich can print out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from ptprof.records import Accuracy, ArtifactRecord, RunRecord, Scores
from ptprof.report.amortisation import amortisation
from ptprof.report.diagnosis import diagnosis
from ptprof.report.estimates import estimates
from ptprof.report.format import NONE, energy, listed, prefixed, seconds, size, sources, tiny
from ptprof.report.measurements import measurements, modelled
from ptprof.report.style import paragraph, row, table

__all__ = ["amortisation", "data_set", "diagnosis", "estimates", "measurements", "parity", "runs"]

if TYPE_CHECKING:
    from ptprof.train.data import DatasetInfo


def data_set(info: DatasetInfo) -> RenderableType:
    """What a data folder holds: how much of it, of which flows, and its statistics."""
    made = table(
        f"{info.name} on {info.grid[0]}×{info.grid[1]}", ("split",), ("files", "trajectories", "states each")
    )
    for name, split in info.splits.items():
        row(made, name, f"{split.files}", f"{split.trajectories}", f"{split.steps}")
    statistics = table("Statistics of the training split", ("field",), ("mean", "standard deviation"))
    for field, mean, std in zip(
        info.statistics.fields, info.statistics.mean, info.statistics.std, strict=True
    ):
        row(statistics, field, f"{mean:.4g}", f"{std:.4g}")
    names = dict.fromkeys(name for scalars in info.scalars for name in scalars)
    flows = [
        f"{name}: {', '.join(f'{v:g}' for v in sorted({s[name] for s in info.scalars if name in s}))}"
        for name in names
    ]
    maker = f"ptprof {info.made_by}" if info.made_by else "another program"
    facts = f"A state every {info.dt:g}; {size(info.size_bytes)}; simulated by {maker}."
    return Group(made, statistics, paragraph([*flows, facts]))


def runs(records: Iterable[RunRecord]) -> RenderableType:
    """What each training cost and how well it forecasts; persistence, which a model must beat, below."""
    trained = list(records)
    steps = max((len(run.accuracy.rollout) for run in trained), default=0)
    recipes = {run.recipe for run in trained}
    made = table(
        f"Trained models, recipe {listed(sorted(recipes))}; accuracy on the test split, mean over fields",
        ("model",) if len(recipes) == 1 else ("model", "recipe"),
        ("params", "epochs", "time", "energy", "source", *_score_columns(steps)),
    )
    for run in trained:
        row(
            made,
            run.model,
            *([] if len(recipes) == 1 else [run.recipe]),
            prefixed(run.parameters, "").rstrip(),
            f"{run.epochs}",
            seconds(run.duration_s),
            energy(run.energy),
            sources(run.energy.present.values()),
            *_scores(run.accuracy, steps),
        )
    made.add_section()
    for persistence in dict.fromkeys(_scores(run.persistence, steps) for run in trained):
        row(made, "persistence", *[NONE] * (5 if len(recipes) == 1 else 6), *persistence)
    if steps:
        made.caption = f"vrmse, r: one step → step {steps} of a rollout\n"
    return Group(made, *modelled(run.energy.present.values() for run in trained))


def _score_columns(steps: int) -> tuple[str, str]:
    return (f"vrmse 1→{steps}", f"r 1→{steps}") if steps else ("vrmse", "r")


def _scores(accuracy: Accuracy, steps: int) -> tuple[str, str]:
    """VRMSE and Pearson r after one step, and at the end of a rollout of ``steps``."""
    vrmse, r = _means(accuracy.one_step)
    if not steps:
        return vrmse, r
    if len(accuracy.rollout) < steps:
        return f"{vrmse} {NONE}", f"{r} {NONE}"
    last_vrmse, last_r = _means(accuracy.rollout[steps - 1])
    return f"{vrmse} {last_vrmse}", f"{r} {last_r}"


def _means(scores: Scores) -> tuple[str, str]:
    vrmse, r = scores.mean("vrmse"), scores.mean("pearson_r")
    return NONE if vrmse is None else f"{vrmse:.3f}", NONE if r is None else f"{r:.3f}"


def parity(records: Iterable[ArtifactRecord]) -> RenderableType:
    """How far each exported file is from the model that was trained, relative L2 on real test windows."""
    artifacts = list(records)
    lengths = {file.parity.rollout_steps for artifact in artifacts for file in artifact.files} - {0}
    rollout = f"{lengths.pop()} steps" if len(lengths) == 1 else "rollout"
    made = table(
        "Exports; relative L2 distance on test windows",
        ("model", "file"),
        ("size", "1 step", rollout, "to float64", "trained to float64", "gate"),
    )
    for artifact in artifacts:
        for file in artifact.files:
            p = file.parity
            errors = (p.one_step, p.rollout, p.one_step_float64, p.reference_float64, p.gate)
            row(made, artifact.model, file.name, size(file.size_bytes), *map(tiny, errors))
    made.caption = (
        f"1 step, {rollout}: from the trained model. To float64: one step from the same model\n"
        "in float64, bounded by the gate; the trained model's own distance stands beside it.\n"
    )
    if untrained := [a.model for a in artifacts if any(file.parity.synthetic for file in a.files)]:
        made.caption += f"Synthetic windows, and weights that were not trained: {listed(untrained)}.\n"
    return made
