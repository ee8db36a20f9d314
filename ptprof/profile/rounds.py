"""Candidates that take turns, one attempt each in every round, in an order that is drawn anew."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ptprof.errors import PtprofError
from ptprof.profile.summary import Subject

T = TypeVar("T")


class Rounds(Generic[T]):
    """As many rounds as are asked for; one that fails is left out from then on.

    Attributes
    ----------
    done : those that went through all rounds, each with what its attempts gave
    failures : the others, and why
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        count: int,
        attempt: Callable[[Subject], T],
        *,
        step: Callable[[int], None] = lambda attempts: None,
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.Random(0)
        waiting: list[tuple[Subject, list[T]]] = [(subject, []) for subject in subjects]
        self.failures: list[tuple[Subject, str]] = []
        for number in range(count):
            for subject, found in rng.sample(waiting, len(waiting)):
                try:
                    found.append(attempt(subject))
                except PtprofError as error:
                    self.failures.append((subject, str(error)))
                    waiting = [one for one in waiting if one[1] is not found]
                    step(count - number)
                else:
                    step(1)
        self.done = waiting
