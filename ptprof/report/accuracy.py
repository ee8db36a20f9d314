"""Accuracy over a rollout as lines: one for each model, and persistence as the one to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ptprof.plots import line_styles, literal, new_figure, styled
from ptprof.records import Accuracy, Physics, Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCE: dict[str, Any] = {"color": "#a0a0a0", "linestyle": "-", "linewidth": 3.0, "zorder": 1}
FLOOR: dict[str, Any] = {"color": "#222222", "linestyle": (0, (1, 1)), "linewidth": 1.0, "zorder": 1}
MARKERS = "os^Dv<>P"
LOWEST_R = -0.2
#: Below this a figure is rounding, and a logarithmic axis would show little else.
LOWEST_PHYSICS = 1e-10

PHYSICS = {
    "divergence": "divergence ÷ velocity gradient",
    "vorticity_vrmse": "vorticity, VRMSE",
    "energy_spectrum_error": "energy spectrum, decades off",
    "tracer_mean_drift": "drift of the tracer's mean ÷ deviation",
    "tracer_variance_error": "tracer's variance, relative error",
}


def accuracy_over_rollout(models: Mapping[str, Accuracy], persistence: Accuracy) -> Figure:
    """Pearson r at each step: the mean over fields (the paper's Fig. 4), and each field alone.

    A line ends where a forecast is no longer finite.
    """
    from matplotlib.figure import Figure

    fields = list(persistence.one_step.pearson_r)
    with styled():
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        grid = figure.add_gridspec(2, 4)
        mean = figure.add_subplot(grid[:, :2])
        small = [figure.add_subplot(grid[i // 2, 2 + i % 2]) for i in range(len(fields))]
        _draw(mean, models, persistence, lambda scores: scores.mean("pearson_r"))
        mean.set_ylabel("Pearson $r$, mean over fields")
        mean.legend(loc="lower left", handlelength=3.4)
        for panel, field in zip(small, fields, strict=True):
            _draw(panel, models, persistence, partial(_r, field))
            panel.set_title(field.replace("_", " "), loc="left", fontsize=9)
        for panel in (mean, *small[2:]):
            panel.set_xlabel("rollout step")
        for panel in (mean, *small):
            low = max(panel.get_ylim()[0], LOWEST_R)
            panel.set_ylim(low, 1.0 + 0.02 * (1.0 - low))
    return figure


def physics_over_rollout(models: Mapping[str, Accuracy], persistence: Accuracy) -> Figure:
    """How far each model keeps to the physics at each step, and the floor that the data themselves set."""
    with styled():
        figure, axes = new_figure(9.6, 5.0, nrows=2, ncols=3)
        *panels, corner = axes.flat
        for panel, (name, title) in zip(panels, PHYSICS.items(), strict=True):
            _draw(panel, models, persistence, partial(_physics, name))
            if f"{name}_truth" in Physics.model_fields:
                floor = [_physics(f"{name}_truth", scores) for scores in persistence.rollout]
                panel.plot(range(1, len(floor) + 1), _points(floor), label="the data themselves", **FLOOR)
            panel.set_title(title, loc="left", fontsize=9)
            if name != "energy_spectrum_error":
                panel.set_yscale("log")
                panel.set_ylim(bottom=max(panel.get_ylim()[0], LOWEST_PHYSICS))
                panel.minorticks_off()
        for panel in panels[2:]:
            panel.set_xlabel("rollout step")
        corner.set_axis_off()
        corner.legend(*panels[0].get_legend_handles_labels(), loc="center left", handlelength=3.4)
    return figure


def _r(field: str, scores: Scores) -> float | None:
    return scores.pearson_r[field]


def _physics(name: str, scores: Scores) -> float | None:
    value: float | None = getattr(scores.physics, name)
    return value


def _draw(
    panel: Any,
    models: Mapping[str, Accuracy],
    persistence: Accuracy,
    score: Callable[[Scores], float | None],
) -> None:
    """A line for each model, told apart by colour, dash and marker, over the thick one of persistence."""
    styles = zip(line_styles(), MARKERS * len(models), strict=False)
    for (name, accuracy), (style, marker) in zip(models.items(), styles, strict=False):
        values = _points(score(scores) for scores in accuracy.rollout)
        every = max(1, len(values) // 5)
        panel.plot(
            range(1, len(values) + 1),
            values,
            label=literal(name),
            linewidth=1.4,
            marker=marker,
            markersize=4,
            markevery=(min(len(values) - 1, every - 1), every),
            **style,
        )
    values = _points(score(scores) for scores in persistence.rollout)
    panel.plot(range(1, len(values) + 1), values, label="persistence", **REFERENCE)
    panel.set_xlim(0.5, len(values) + 0.5)
    panel.locator_params(axis="x", integer=True)


def _points(values: Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
