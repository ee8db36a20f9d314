"""Some steps of a training, metered in blocks until their cost is known, or a time is up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ptprof.energy import Clock, EnergyMeter
from ptprof.records import Block
from ptprof.train.projection import Blocks, CostKnown, EpochSize

GOAL = 0.02
"""Relative half-width to which the cost of a training step, and of an epoch, is to be known."""

WARM_UP_STEPS, WARM_UP_S = 3, 2.0
"""Training steps, and seconds, that are not counted: both must have passed. The first steps fill the pools of
the allocator and the page cache, choose convolution algorithms and compile."""

WARM_UP_SHARE = 0.2
"""Share of the time limit that ends the warm-up all the same, once one step is done."""

BLOCK_S, BLOCK_TICKS = 1.0, 20
"""The shortest block: a second, or as many ticks of the slowest energy counter; never less than a step."""

LONG_ENOUGH = 0.9
"""Share of that length that a first block must have."""

LEAST_TRAINING_BLOCKS, LEAST_VALIDATION_BLOCKS = 8, 3

TRAINING_SHARE = 0.85
"""Share of the time limit that training steps may take where there is a validation to sample too."""

Steps = Callable[[int], None]
Observer = Callable[[str, float | None], None]
"""Told after every block what is sampled, and how well its cost is known by now."""


class Work(Protocol):
    """A training whose steps can be done a few at a time, reading their batches included."""

    def train(self, steps: int) -> None:
        """Do the next ``steps`` training steps; returns when they are done."""

    def validate(self, steps: int) -> None:
        """Do ``steps`` validation steps; returns when they are done."""


@dataclass(frozen=True)
class Sample:
    """What was sampled, the steps that went before, the time it took in all, and which rule was not met."""

    blocks: Blocks
    warm_up_steps: int
    duration_s: float
    unmet: str | None


def sample(
    work: Work,
    size: EpochSize,
    meter: EnergyMeter,
    clock: Clock,
    *,
    limit_s: float,
    goal: float = GOAL,
    observe: Observer = lambda what, half_width: None,
) -> Sample:
    """Do steps until the cost of one, and with the validation that of an epoch, is known to ``goal``.

    Training comes first, then validation, each after a warm-up of its own. Of both at least one block is
    done, however short the limit.

    Parameters
    ----------
    limit_s : how long to go on after the first step, which may compile; the block under way is finished
    """
    sampler = _Sampler(meter, clock, limit_s, observe)
    share = TRAINING_SHARE if size.valid_steps else 1.0
    step = CostKnown("a training step", goal, LEAST_TRAINING_BLOCKS)
    warm_up = sampler.warm_up(work.train, WARM_UP_STEPS, WARM_UP_S)
    too_cold = sampler.add(step, work.train, warm_up.step_s, share)
    unmet, blocks = step.unmet, Blocks(size, train=step.seen)
    if size.valid_steps:
        epoch = CostKnown("an epoch", goal, LEAST_VALIDATION_BLOCKS, size=size, before=step.seen)
        first = sampler.warm_up(work.validate, 1, 0.0)
        sampler.add(epoch, work.validate, first.step_s, 1.0)
        unmet, blocks = unmet or epoch.unmet, Blocks(size, step.seen, epoch.seen)
    if unmet is not None:
        unmet = f"{unmet}: the time of {limit_s:g} s was up"
    return Sample(blocks, warm_up.steps + too_cold, sampler.elapsed_s, unmet)


@dataclass(frozen=True)
class _WarmUp:
    """How many steps it took, and how long (s) the fastest."""

    steps: int
    step_s: float


class _Sampler:
    """Blocks of steps, one after the other, against one time limit."""

    def __init__(self, meter: EnergyMeter, clock: Clock, limit_s: float, observe: Observer) -> None:
        self._meter, self._clock, self._limit_s, self._observe = meter, clock, limit_s, observe
        self._begun_s = clock.now()
        self._first_done_s = math.inf

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return self._clock.now() - self._begun_s

    def _over(self, share: float) -> bool:
        """Whether ``share`` of the limit is over, which counts from the end of the first step."""
        return self._clock.now() - self._first_done_s >= share * self._limit_s

    def warm_up(self, work: Steps, least: int, seconds: float) -> _WarmUp:
        """Steps that are not counted, one by one: ``least`` of them, and for ``seconds``."""
        begun_s, steps, fastest_s = self._clock.now(), 0, math.inf
        while True:
            step_begun_s = self._clock.now()
            work(1)
            steps += 1
            now_s = self._clock.now()
            fastest_s = min(fastest_s, now_s - step_begun_s)
            self._first_done_s = min(self._first_done_s, now_s)
            warm = steps >= least and now_s - begun_s >= seconds
            if warm or now_s - begun_s >= WARM_UP_SHARE * self._limit_s:
                return _WarmUp(steps, fastest_s)

    def add(self, rule: CostKnown, work: Steps, step_s: float, share: float) -> int:
        """Add blocks to ``rule`` until it is met, or ``share`` of the limit is over; at least one.

        All have the same number of steps, as many as make a block's length at ``step_s`` each. Where they go
        faster than that, what comes out too short is warm-up: gives the steps of that.
        """
        block_s = max(BLOCK_S, BLOCK_TICKS * self._meter.tick_s)
        steps = max(1, math.ceil(block_s / step_s)) if step_s > 0 else 1
        too_cold = 0
        rule.initialize()
        while not rule.seen or not (rule.is_finished() or self._over(share)):
            block = self._block(work, steps)
            too_short = block.duration_s < LONG_ENOUGH * block_s and not self._over(share)
            if too_short and not rule.seen:
                too_cold += steps
                steps = max(steps + 1, math.ceil(steps * block_s / block.duration_s))
                continue
            rule.add_measurement(block)
            self._observe(rule.what, rule.half_width())
        return too_cold

    def _block(self, work: Steps, steps: int) -> Block:
        start_s = self.elapsed_s
        with self._meter.window() as window:
            work(steps)
        return Block(start_s=start_s, duration_s=window.duration_s, steps=steps, energy=window.breakdown())
