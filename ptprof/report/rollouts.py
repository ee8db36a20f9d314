"""Rollouts as pictures: the target above what models forecast, field by field and step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptprof.plots import literal, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ptprof.train.evaluation import Example

States = NDArray[np.float32]
Rows = list[tuple[str, States]]

NAMES = {
    "tracer": "tracer $s$",
    "pressure": "pressure $p$",
    "velocity_x": "velocity $u_x$",
    "velocity_y": "velocity $u_y$",
}
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
GREY = "#777777"
"""Of the axes, and of a forecast that is no longer finite."""

# Inches. A picture is twice as wide as high, as the domain is along y and x.
WIDTH, HEIGHT = 1.56, 0.78
GAP, BLOCK_GAP = 0.06, 0.2
TOP, BOTTOM, RIGHT = 0.3, 0.42, 0.85
BAR = 0.1


def rollout(example: Example, model: str) -> Figure:
    """One model: for each field a row of targets above a row of forecasts, with a colour bar of their own."""
    return _figure({field: _rows(field, example, {model: example}) for field in example.fields}, example)


def comparison(examples: Mapping[str, Example], field: str) -> Figure:
    """One field: a row of targets, and below it a row of forecasts for each model (the paper's Figs. 8-11).

    Parameters
    ----------
    examples : by model, all of the same trajectory and steps
    """
    first = next(iter(examples.values()))
    return _figure({field: _rows(field, first, examples)}, first)


def _rows(field: str, example: Example, forecasts: Mapping[str, Example]) -> Rows:
    c = example.fields.index(field)
    return [("target", example.truth[:, c]), *((name, e.forecast[:, c]) for name, e in forecasts.items())]


def _figure(blocks: Mapping[str, Rows], example: Example) -> Figure:
    """The blocks below each other; placed by hand, since all pictures must line up."""
    from matplotlib.figure import Figure

    left = 0.5 + 0.075 * max(len(name) for rows in blocks.values() for name, _ in rows)
    width = left + len(example.steps) * (WIDTH + GAP) + RIGHT
    heights = [len(rows) * (HEIGHT + GAP) for rows in blocks.values()]
    height = TOP + sum(heights) + BLOCK_GAP * (len(heights) - 1) + BOTTOM
    with styled():
        figure = Figure(figsize=(width, height))

        def axes(x: float, y: float, w: float, h: float) -> Any:
            return figure.add_axes((x / width, y / height, w / width, h / height))

        top = height - TOP
        for (field, rows), tall in zip(blocks.items(), heights, strict=True):
            panels = [
                [
                    axes(left + column * (WIDTH + GAP), top - row * (HEIGHT + GAP) - HEIGHT, WIDTH, HEIGHT)
                    for column in range(len(example.steps))
                ]
                for row in range(len(rows))
            ]
            bar = axes(left + len(example.steps) * (WIDTH + GAP) + 0.02, top - tall + GAP, BAR, tall - GAP)
            _draw(field, rows, panels, bar)
            if field == next(iter(blocks)):
                for panel, step, time in zip(panels[0], example.steps, example.times, strict=True):
                    panel.set_title(f"step {step}, $t$ = {time:.4g}", fontsize=9)
            top -= tall + BLOCK_GAP
        corner = panels[-1][0]
        corner.set(xticks=(-1, 0, 1), yticks=(0, 1))
        corner.tick_params(labelsize=7.5, length=2.5, colors=GREY)
        corner.set_xlabel("$y$", color=GREY, labelpad=1)
        corner.set_ylabel("$x$", color=GREY, labelpad=-3, rotation=0, va="center")
    return figure


def _draw(field: str, rows: Rows, panels: Sequence[Sequence[Any]], bar: Any) -> None:
    """The rows of one field on one scale, the target's: white is 0, but the tracer's zero means nothing."""
    from matplotlib import colormaps

    target = rows[0][1]
    largest = float(np.abs(target).max())
    low, high = (float(target.min()), float(target.max())) if field == "tracer" else (-largest, largest)
    colours = colormaps[SEQUENTIAL if field == "tracer" else DIVERGING].with_extremes(bad=GREY)
    for row, (name, states) in zip(panels, rows, strict=True):
        for panel, state in zip(row, states, strict=True):
            image = panel.imshow(
                np.ma.masked_invalid(state),
                cmap=colours,
                vmin=low,
                vmax=high,
                origin="lower",
                extent=(-1, 1, 0, 1),
                aspect="auto",
            )
            panel.set(xticks=(), yticks=())
            panel.grid(visible=False)
            panel.spines[:].set(visible=True, linewidth=0.4, color="#444444")
        row[0].text(-0.2, 0.5, literal(name), transform=row[0].transAxes, ha="right", va="center")
    forecasts = np.stack([states for _, states in rows[1:]])
    below, above = bool((forecasts < low).any()), bool((forecasts > high).any())
    extend = {(True, False): "min", (False, True): "max", (True, True): "both"}.get((below, above), "neither")
    scale = bar.figure.colorbar(image, cax=bar, extend=extend, extendfrac=0.04, label=NAMES.get(field, field))
    scale.ax.tick_params(labelsize=7.5, length=2.5)
    scale.outline.set_linewidth(0.4)
    scale.ax.grid(visible=False)
