"""The PINNs: what each training came to, and the sweep as tables and as a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from ptprof.plots import COLOURS, literal, new_figure, styled
from ptprof.records import Interval, PinnRecord, RunRecord
from ptprof.report import tables
from ptprof.report.format import NONE, energy, listed, prefixed, seconds, significant, sources, tiny
from ptprof.report.style import paragraph, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ptprof.train.burgers import TradeOff
    from ptprof.train.burgers.tradeoffs import Comparison, Ratio, Stop

PAPER_FACTOR = 10.0
"""What a PINN saves at most at equal accuracy, by appendix A of arXiv:2509.24517."""

MARKS = "Marks: a training's end and its number of points, bars 95 %; lines: what it cost and reached before."

#: The paper's own marks: squares, dots and triangles; they and the dashes tell the models apart in grey.
_STYLES: dict[str, dict[str, Any]] = {
    "burgers-nn": {"marker": "s", "color": COLOURS[1], "linestyle": "--", "labels": "above"},
    "burgers-u-pinn": {"marker": "o", "color": COLOURS[0], "linestyle": "-", "labels": "below"},
    "burgers-s-pinn": {"marker": "^", "color": "#555555", "linestyle": ":", "labels": "below"},
}


def trainings(records: Iterable[RunRecord | PinnRecord]) -> RenderableType:
    """What was trained: a table of the forecasters and one of the PINNs, where there are any."""
    forecasters: list[RunRecord] = []
    networks: list[PinnRecord] = []
    for record in records:
        if isinstance(record, PinnRecord):
            networks.append(record)
        else:
            forecasters.append(record)
    shown = [tables.runs(forecasters)] if forecasters else []
    return Group(*shown, *([runs(networks)] if networks else []))


def runs(records: Iterable[PinnRecord]) -> RenderableType:
    """What each training of a PINN cost, and its error on the whole grid."""
    made = table(
        "Trained on Burgers' equation; test error on the whole 256×100 grid",
        ("model", "recipe"),
        ("points", "steps", "time", "energy", "source", "loss", "test mse"),
    )
    for run in records:
        row(
            made,
            run.model,
            run.recipe,
            f"{run.points:,}",
            f"{run.steps:,}",
            seconds(run.duration_s),
            energy(run.energy),
            sources(run.energy.present.values()),
            tiny(run.loss),
            tiny(run.test_mse),
        )
    return made


def tradeoff(made: TradeOff) -> RenderableType:
    """The sweep: how each training ended, what equal accuracy costs, and the answer in words."""
    ends = table(
        f"Burgers' equation, recipe {made.recipe}: geometric means over {made.seeds} seeds",
        ("model",),
        ("points", "steps", "CO2eq", "test mse", "95 %"),
    )
    for stop in made.stops:
        if stop.final:
            row(
                ends,
                stop.model,
                f"{stop.points:,}",
                f"{stop.steps:,}",
                prefixed(stop.co2eq_g.value, "g"),
                tiny(stop.test_mse.value),
                _range(stop.test_mse, tiny),
            )
    best = made.comparisons[0]
    equal = table(
        "Least CO2eq to reach a test error, any size, stopped at any stage",
        (),
        ("test mse", "NN", best.pinn, "NN / PINN", "95 %"),
    )
    for ratio in reversed(best.ratios):
        if _whole_decade(ratio.test_mse):
            row(
                equal,
                tiny(ratio.test_mse),
                prefixed(ratio.nn_g, "g"),
                prefixed(ratio.pinn_g, "g"),
                significant(ratio.factor.value),
                _range(ratio.factor, significant),
            )
    return Group(ends, equal, paragraph([*answer(made), *caveats(made)]))


def answer(made: TradeOff) -> list[str]:
    """The factor at equal accuracy beside the paper's, and who holds the Pareto front."""
    return [
        *(_compared(comparison) for comparison in made.comparisons),
        f"The paper finds a factor of up to {PAPER_FACTOR:g}.",
        _front(made),
        "Best test error: "
        + ", ".join(f"{name} {tiny(figure.value)}" for name, figure in made.best_test_mse.items())
        + ".",
    ]


def caveats(made: TradeOff) -> list[str]:
    """What the grams rest on."""
    grid = f"{made.intensity_g_per_kwh:g} gCO2eq/kWh, PUE {made.pue:g}"
    shared = "An error of the meter that all share is in no interval: it cancels in the factor."
    modelled = "modelled" in sources(made.energy.present.values())
    return [f"{grid}. {shared}", *(["Energy is modelled: CPU seconds × watts per core."] if modelled else [])]


def figure(made: TradeOff) -> Figure:
    """Two panels. Above, test error against CO2eq, both logarithmic: a line for each model and size, a mark
    at its end with the 95 % interval, the Pareto front. Below, how many times the best PINN's CO2eq the NN
    takes to reach a test error, with its 95 % band.
    """
    drawing, (above, below) = new_figure(7.5, 8.0, nrows=2, height_ratios=(3, 2))
    with styled():
        for model, style in _STYLES.items():
            _lines(above, model, [stop for stop in made.stops if stop.model == model], style)
        front = sorted((s for s in made.stops if s.on_front), key=lambda stop: stop.co2eq_g.value)
        above.plot(
            [stop.co2eq_g.value for stop in front],
            [stop.test_mse.value for stop in front],
            color="black",
            linestyle=(0, (6, 3)),
            linewidth=1.4,
            label="Pareto front",
            zorder=4,
        )
        above.set(
            xscale="log", yscale="log", xlabel="CO2eq of the training, g", ylabel="test mean square error"
        )
        # Room for the numbers of points below the bars.
        above.set_ylim(bottom=above.get_ylim()[0] / 6)
        above.legend(loc="lower left")
        _factor(below, made.comparisons[0])
        lines = [_compared(made.comparisons[0]), _front(made), MARKS, *caveats(made)]
        words = "\n".join(textwrap.fill(line, 120) for line in lines)
        drawing.supxlabel(literal(words), fontsize=7.5, x=0.01, ha="left")
    return drawing


def _lines(axes: Any, model: str, stops: list[Stop], style: dict[str, Any]) -> None:
    for size in sorted({stop.points for stop in stops}):
        course = [stop for stop in stops if stop.points == size]
        axes.plot(
            [stop.co2eq_g.value for stop in course],
            [stop.test_mse.value for stop in course],
            linewidth=0.9,
            alpha=0.7,
            color=style["color"],
            linestyle=style["linestyle"],
        )
    ends = [stop for stop in stops if stop.final]
    axes.errorbar(
        [stop.co2eq_g.value for stop in ends],
        [stop.test_mse.value for stop in ends],
        xerr=_bars([stop.co2eq_g for stop in ends]),
        yerr=_bars([stop.test_mse for stop in ends]),
        fmt=style["marker"],
        color=style["color"],
        markersize=6,
        elinewidth=0.8,
        capsize=2,
        label=model,
        zorder=5,
    )
    for stop in ends:
        # Upright and past the bar, the NN's above and the PINNs' below, since the ends lie side by side.
        error, up = stop.test_mse, style["labels"] == "above"
        end = (error.high if up else error.low) or error.value
        axes.annotate(
            f"{stop.points:,}",
            (stop.co2eq_g.value, end),
            xytext=(0, 4 if up else -4),
            textcoords="offset points",
            rotation="vertical",
            horizontalalignment="center",
            verticalalignment="bottom" if up else "top",
            fontsize=7,
        )


def _factor(axes: Any, best: Comparison) -> None:
    if not best.ratios:
        axes.set_axis_off()
        return
    accuracies = [ratio.test_mse for ratio in best.ratios]
    axes.plot(accuracies, [ratio.factor.value for ratio in best.ratios], color=COLOURS[0], linewidth=1.6)
    if all(ratio.factor.low is not None for ratio in best.ratios):
        lows = [ratio.factor.low for ratio in best.ratios]
        highs = [ratio.factor.high for ratio in best.ratios]
        axes.fill_between(accuracies, lows, highs, color=COLOURS[0], alpha=0.15, linewidth=0)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.axhline(PAPER_FACTOR, color="black", linewidth=0.8, linestyle=":")
    axes.annotate(
        "the paper: up to 10",
        (0.01, PAPER_FACTOR),
        xycoords=("axes fraction", "data"),
        xytext=(0, -10),
        textcoords="offset points",
        fontsize=7.5,
    )
    axes.set(
        xscale="log", yscale="log", xlabel="test mean square error reached", ylabel=f"CO2eq, NN / {best.pinn}"
    )
    axes.invert_xaxis()


def _bars(figures: list[Interval]) -> list[list[float]] | None:
    """Lengths of error bars, below and above; None where there are no intervals."""
    below = [figure.value - figure.low for figure in figures if figure.low is not None]
    above = [figure.high - figure.value for figure in figures if figure.high is not None]
    return [below, above] if len(below) == len(above) == len(figures) else None


def _compared(comparison: Comparison) -> str:
    largest, smallest, typical = comparison.largest, comparison.smallest, comparison.typical
    if largest is None or smallest is None or typical is None:
        return f"The NN and {comparison.pinn} reach no accuracy in common."
    finest, coarsest = comparison.ratios[0].test_mse, comparison.ratios[-1].test_mse
    return (
        f"CO2eq of the NN over that of {comparison.pinn} at equal test error: at most {_at(largest)},"
        f" at least {_at(smallest)}; {_figure(typical)} on the mean from {tiny(coarsest)} to {tiny(finest)}."
    )


def _front(made: TradeOff) -> str:
    front = [stop.model for stop in made.stops if stop.on_front]
    shares = [f"{front.count(model)} of {model}" for model in _STYLES if model in front]
    return f"The Pareto front has {len(front)} points, {listed(shares)}."


def _at(ratio: Ratio) -> str:
    return f"{_figure(ratio.factor)} at {tiny(ratio.test_mse)}"


def _figure(figure: Interval) -> str:
    interval = _range(figure, significant)
    return significant(figure.value) if interval == NONE else f"{significant(figure.value)} ({interval})"


def _range(figure: Interval, text: Any) -> str:
    if figure.low is None or figure.high is None:
        return NONE
    return f"{text(figure.low)}–{text(figure.high)}"


def _whole_decade(accuracy: float) -> bool:
    return f"{accuracy:.6e}".startswith("1.000000e")
