"""Candidates in rounds: everybody's turn, and what becomes of one that fails."""

from __future__ import annotations

import random

import pytest

from ptprof.errors import MeasurementError
from ptprof.profile.rounds import Rounds
from ptprof.profile.scenarios import scenario
from ptprof.profile.summary import Subject
from ptprof.records import EnergyBreakdown


@pytest.fixture
def subjects(make_run):
    asked = scenario("cold-start", batch=1, steps=1)
    runs = [make_run(model, EnergyBreakdown()) for model in ("unet", "fno", "tfno")]
    return [Subject(run, "eager", "cpu", asked, run.model) for run in runs]


def test_all_take_turns_in_an_order_that_is_drawn(subjects):
    turns, steps = [], []

    def attempt(subject):
        turns.append(subject.run.model)
        return len(turns)

    rounds = Rounds(subjects, 20, attempt, step=steps.append, rng=random.Random(1))
    orders = [tuple(turns[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(order) == ["fno", "tfno", "unet"] for order in orders)
    assert len(set(orders)) > 3
    assert rounds.failures == []
    assert steps == [1] * 60
    # Each has what its own attempts gave.
    for subject, found in rounds.done:
        assert [turns[number - 1] for number in found] == [subject.run.model] * 20


def test_one_that_fails_is_left_out_and_the_others_go_on(subjects):
    turns, steps = [], []

    def attempt(subject):
        turns.append(subject.run.model)
        if turns.count("fno") == 2 and subject.run.model == "fno":
            raise MeasurementError("out of memory")

    rounds = Rounds(subjects, 5, attempt, step=steps.append)
    assert [(s.run.model, why) for s, why in rounds.failures] == [("fno", "out of memory")]
    assert turns.count("fno") == 2
    assert turns.count("unet") == turns.count("tfno") == 5
    assert [s.run.model for s, _ in rounds.done] == ["unet", "tfno"]
    # A bar that counts attempts comes to its end.
    assert sum(steps) == 15
