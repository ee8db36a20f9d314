"""The figures of accuracy: over a rollout, and of the PINNs against carbon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ptprof.records import Accuracy, Interval, PinnPoint
from ptprof.report.charts import REFERENCE, Axis, Chart, Point, Series
from ptprof.report.cost_charts import of_energy

PERSISTENCE = "persistence"
LOWEST_R = -0.2


def over_rollout(models: Mapping[str, Accuracy], persistence: Accuracy, order: Sequence[str]) -> Chart:
    """Pearson r at each step of a rollout, mean over fields (the paper's Fig. 4).

    ``order`` holds all models, each at the place of its style.
    """
    lines = [Series(name=PERSISTENCE, style=REFERENCE, points=_r(persistence))]
    lines += [Series(name=n, style=order.index(n), points=_r(accuracy)) for n, accuracy in models.items()]
    return Chart(
        name="accuracy-over-rollout",
        title="Accuracy over a rollout",
        kind="lines",
        x=Axis(label="rollout step", column="step", whole=True),
        y=Axis(label="Pearson r, mean over fields", column="pearson_r", least=LOWEST_R, most=1.0),
        series=tuple(line for line in lines if line.points),
        caption="1 is a perfect forecast. Persistence says that nothing changes. A line ends where a forecast"
        " is no longer finite.",
    )


def burgers(points: Sequence[PinnPoint], grams_per_joule: float) -> Chart:
    """Test error of every training of the PINNs' sweep against what it cost (the paper's Fig. 1b)."""
    models = sorted({point.model for point in points})
    return Chart(
        name="burgers",
        title="Burgers' equation: error against carbon",
        kind="points",
        x=Axis(label="training, CO2eq", column="training_g", unit="g", log=True),
        y=Axis(label="test MSE", column="test_mse", log=True),
        series=tuple(
            Series(
                name=model,
                style=style,
                points=tuple(_pinns((p for p in points if p.model == model), grams_per_joule)),
            )
            for style, model in enumerate(models)
        ),
        caption="One mark for each training: a size of the data set and a seed. The lower left is best.",
    )


def _pinns(points: Iterable[PinnPoint], grams_per_joule: float) -> Iterable[Point]:
    for p in points:
        if (grams := of_energy(p.energy, grams_per_joule)) is not None:
            note = f"{p.points:,} points, seed {p.seed}"
            yield Point(x=grams, y=Interval(value=p.test_mse), note=note)


def _r(accuracy: Accuracy) -> tuple[Point, ...]:
    means = [scores.mean("pearson_r") for scores in accuracy.rollout]
    return tuple(
        Point(x=Interval(value=step), y=Interval(value=r)) for step, r in enumerate(means, 1) if r is not None
    )
