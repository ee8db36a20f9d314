"""What each command prints: records in, something that rich can print out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ptprof.records import Accuracy, ArtifactRecord, Energy, Measurement, RunRecord, Scores
from ptprof.report.amortisation import amortisation
from ptprof.report.diagnosis import diagnosis
from ptprof.report.estimates import estimates
from ptprof.report.format import NONE, energy, interval, listed, prefixed, seconds, size, sources, tiny
from ptprof.report.style import paragraph, row, table

__all__ = ["amortisation", "data_set", "diagnosis", "estimates", "measurements", "parity", "runs"]

if TYPE_CHECKING:
    from ptprof.train.data import DatasetInfo

MODELLED_NOTE = "modelled: CPU seconds × watts per core, so the figure is CPU time in other words\n"


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
    return Group(made, *_modelled(run.energy.present.values() for run in trained))


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


def measurements(records: Iterable[Measurement]) -> RenderableType:
    """Latency, throughput, memory and energy: one table per scenario, batch and device."""
    groups: dict[str, list[Measurement]] = {}
    for m in records:
        what = "One step" if m.scenario == "one-step" else f"Rollout of {m.steps} steps"
        title = f"{what}, batch {m.batch}, {m.device}, {m.protocol} protocol"
        groups.setdefault(title, []).append(m)
    if not groups:
        return Text("Nothing is measured.")
    tables = [_measured(title, group) for title, group in groups.items()]
    everything = [m for group in groups.values() for m in group]
    return Group(*tables, *_modelled(m.energy_per_query.present.values() for m in everything))


def _measured(title: str, group: Sequence[Measurement]) -> Table:
    on_gpu = any(m.peak_device_bytes is not None for m in group)
    memory = ("host memory", "GPU memory") if on_gpu else ("memory",)
    notes = list(dict.fromkeys(flag for m in group for flag in _flags(m)))
    made = table(
        title, ("model", "runtime"), ("latency", "throughput", *memory, "energy per query", "source")
    )
    if notes:
        made.add_column("note")
    for m in group:
        sizes = (size(m.peak_host_bytes), size(m.peak_device_bytes)) if on_gpu else (size(m.peak_host_bytes),)
        row(
            made,
            m.model if m.nfe is None else f"{m.model} nfe {m.nfe}",
            m.runtime if m.precision == "fp32" else f"{m.runtime} {m.precision}",
            interval(m.latency_s, "s"),
            f"{prefixed(m.throughput_per_s.value, '').rstrip()}/s",
            *sizes,
            energy(m.energy_per_query),
            sources(m.energy_per_query.present.values()),
            *([" ".join(f"{notes.index(flag) + 1}" for flag in _flags(m))] if notes else []),
        )
    footnotes = "".join(f"{i}: {note}\n" for i, note in enumerate(notes, 1))
    made.caption = Text(f"latency: median of a call; ± is 95 %\n{footnotes}")
    return made


def _flags(m: Measurement) -> tuple[str, ...]:
    return m.flags if m.flags or m.converged else ("not converged",)


def parity(records: Iterable[ArtifactRecord]) -> RenderableType:
    """How far each exported file is from the model that was trained, relative L2 on real test windows."""
    artifacts = list(records)
    lengths = {file.parity.rollout_steps for artifact in artifacts for file in artifact.files}
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


def _modelled(energies: Iterable[Iterable[Energy]]) -> list[Text]:
    modelled = any(e.source == "modelled" for group in energies for e in group)
    return [Text(MODELLED_NOTE)] if modelled else []
