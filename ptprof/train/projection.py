"""What a training would cost, from blocks of its steps: pure functions, and the rules that end the sampling.

An epoch is so many training steps and so many validation steps, in full batches. Their mean costs come from
blocks of consecutive steps, each metered as one window, and carry two errors apart: the random one, from
how the blocks scatter, and the gain of the sensor, which no number of steps makes smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from ptprof.energy.combine import basis, energy
from ptprof.records import COMPONENTS, Block, Component, Energy, EnergyBreakdown, Interval
from ptprof.stats import quadrature, series_mean

ALONE = 1.0
"""Relative half-width of the cost of a step that one block alone tells: it says nothing of its own error."""

Cost = Callable[[Block], float]


@dataclass(frozen=True)
class EpochSize:
    """The steps of one epoch, as numbers of full batches."""

    train_steps: float
    valid_steps: float


@dataclass(frozen=True)
class Blocks:
    """What was sampled of an epoch: blocks of training steps and of validation steps, oldest first."""

    size: EpochSize
    train: tuple[Block, ...] = ()
    valid: tuple[Block, ...] = ()

    def components(self) -> tuple[Component, ...]:
        """The components that every block has."""
        return tuple(
            c for c in COMPONENTS if all(c in b.energy.present for b in chain(self.train, self.valid))
        )

    def half_width(self) -> float | None:
        """How well the cost of an epoch is known: relative half-width of its joules or seconds, the larger.

        None where one block of training steps alone cannot tell.
        """
        if len(self.train) < 2:
            return None
        components = self.components()
        costs: list[Cost] = [_seconds]
        if components:
            costs.append(lambda b: math.fsum(b.energy.present[c].joules for c in components))
        return max(half / value for value, half in (self._mean(cost) for cost in costs))

    def duration(self, epochs: int) -> Interval:
        """The seconds of ``epochs`` epochs."""
        seconds, half = self._coming(_seconds, epochs)
        return Interval(value=seconds, low=max(seconds - half, 0.0), high=seconds + half)

    def energy(self, epochs: int) -> EnergyBreakdown:
        """The joules of ``epochs`` epochs; a component that a block lacks is missing, and says so."""
        components = self.components()
        missing = {c: self._why(c) for c in COMPONENTS if c not in components}
        return EnergyBreakdown(**{c: self._component(c, epochs) for c in components}, missing=missing)

    def _mean(self, cost: Cost) -> tuple[float, float]:
        """The expected cost of an epoch, and the half-width of its random error."""
        return self._coming(cost, 1, of_all=math.inf)

    def _coming(self, cost: Cost, epochs: int, of_all: float = 1.0) -> tuple[float, float]:
        """The cost of ``epochs`` epochs to come, the mean of ``of_all`` times as many, and its half-width."""
        value, halves = 0.0, []
        for in_epoch, blocks in ((self.size.train_steps, self.train), (self.size.valid_steps, self.valid)):
            if blocks:
                steps = epochs * in_epoch
                mean = series_mean([cost(b) / b.steps for b in blocks])
                half = mean.half_width(max(of_all * steps / blocks[0].steps, 1.0))
                value += steps * mean.value
                halves.append(steps * (ALONE * mean.value if half is None else half))
        return value, quadrature(halves)

    def _component(self, component: Component, epochs: int) -> Energy:
        figures = [b.energy.present[component] for b in chain(self.train, self.valid)]
        joules, random = self._coming(lambda b: b.energy.present[component].joules, epochs)
        first = figures[0]
        return energy(
            joules,
            random,
            systematic=first.systematic,
            gain_id=first.gain_id,
            source="projected",
            sensor=first.sensor,
            projected_from=basis(first),
            flags=tuple(dict.fromkeys(flag for figure in figures for flag in figure.flags)),
        )

    def _why(self, component: Component) -> str:
        blocks = [*self.train, *self.valid]
        lacking = [b for b in blocks if component not in b.energy.present]
        reason = lacking[0].energy.missing.get(component, "not measured")
        return reason if len(lacking) == len(blocks) else f"{len(lacking)} of {len(blocks)} blocks: {reason}"


class CostKnown:
    """Met when the cost of what is sampled is known to within a share of itself, at 95 %.

    Parameters
    ----------
    what : whose cost, in words
    goal : the relative half-width to reach
    least : blocks below which no interval is believed
    before : blocks of the training steps, where validation steps are added to them
    size : of an epoch; one training step where it is not given
    """

    def __init__(
        self,
        what: str,
        goal: float,
        least: int,
        *,
        size: EpochSize = EpochSize(1.0, 0.0),
        before: Sequence[Block] | None = None,
    ) -> None:
        self.what, self.goal, self.least = what, goal, least
        self.size, self.before = size, before
        self.initialize()

    def initialize(self) -> None:
        """Forget what was seen."""
        self.seen: tuple[Block, ...] = ()

    def add_measurement(self, block: Block) -> None:
        """Take the next block."""
        self.seen = (*self.seen, block)

    def is_finished(self) -> bool:
        """Whether the rule is met."""
        half_width = self.half_width()
        return len(self.seen) >= self.least and half_width is not None and half_width <= self.goal

    def half_width(self) -> float | None:
        """What is reached; None where it cannot be told."""
        if not self.seen:
            return None
        if self.before is None:
            return Blocks(self.size, train=self.seen).half_width()
        return Blocks(self.size, train=tuple(self.before), valid=self.seen).half_width()

    @property
    def unmet(self) -> str | None:
        """What is lacking, in words; None where the rule is met."""
        if self.is_finished():
            return None
        half_width = self.half_width()
        if half_width is None:
            alone = "1 block alone" if self.seen else "0 blocks"
            return f"the cost of {self.what} is not known to ± {self.goal:.0%} ({alone})"
        if half_width <= self.goal:
            return f"the cost of {self.what} is known from {len(self.seen)} of at least {self.least} blocks"
        return f"the cost of {self.what} is known to ± {half_width:.1%}, not to ± {self.goal:.0%}"


def _seconds(block: Block) -> float:
    return block.duration_s
