"""Verdicts on pairs whose errors are known, and which measurements are compared at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptprof.amortise.comparison import Places, compare, energy_cost, energy_verdict, latency_verdict
from ptprof.amortise.lifetime import Cost, Part
from ptprof.energy.combine import energy
from ptprof.records import EnergyBreakdown, Interval, Window

LATER, MUCH_LATER = "2026-01-03T00:00:00+00:00", "2026-01-04T00:00:00+00:00"


def joules(value, random, systematic=0.5, gain="cpu-model"):
    return Cost((Part(value, systematic, gain),), random)


def test_intervals_that_touch_are_undecided():
    assert energy_verdict(joules(1.0, 0.1), joules(1.25, 0.1)) == "cheaper"
    assert energy_verdict(joules(1.25, 0.1), joules(1.0, 0.1)) == "dearer"
    # Within the sum of both half-widths, though not within their quadrature of 0.14.
    assert energy_verdict(joules(1.0, 0.1), joules(1.19, 0.1)) == "undecided"
    assert energy_verdict(joules(1.0, None), joules(9.0, 0.1)) == "undecided"
    assert energy_verdict(None, joules(9.0, 0.1)) == "undecided"


def test_a_gain_that_both_share_cannot_change_who_is_cheaper():
    assert energy_verdict(joules(1.0, 0.01), joules(1.1, 0.01)) == "cheaper"
    # Two boards err apart: 0.05 and 0.055 J.
    a, b = joules(1.0, 0.01, 0.05, "GPU-a"), joules(1.1, 0.01, 0.05, "GPU-b")
    assert energy_verdict(a, b) == "undecided"
    assert energy_verdict(a, joules(1.2, 0.01, 0.05, "GPU-b")) == "cheaper"


def test_a_second_gain_counts_by_what_it_adds_to_the_difference():
    def both(gpu, cpu):
        return Cost((Part(gpu, 0.05, "GPU-a"), Part(cpu, 0.5, "cpu-model")), 0.0)

    # The CPU's 0.1 J more is known to half of itself; 0.05 times the board's 0.2 J less is 0.01 J.
    assert energy_verdict(both(1.0, 0.2), both(1.2, 0.1)) == "cheaper"
    assert energy_verdict(both(1.0, 0.2), both(1.14, 0.1)) == "undecided"
    assert energy_verdict(both(1.0, 0.2), both(1.2, 0.2)) == "cheaper"


costs = st.builds(
    lambda value, share, systematic, gain: joules(value, share * value, systematic, gain),
    st.floats(0.1, 10.0),
    st.floats(0.0, 0.5),
    st.floats(0.0, 0.9),
    st.sampled_from(["a", "b"]),
)


@given(costs, costs)
def test_verdicts_mirror_each_other_and_never_contradict_the_values(a, b):
    mirrored = {"cheaper": "dearer", "dearer": "cheaper", "undecided": "undecided"}
    found = energy_verdict(a, b)
    assert energy_verdict(b, a) == mirrored[found]
    assert found == "undecided" or (found == "cheaper") == (a.grams < b.grams)


@given(costs, costs, st.floats(0.01, 100.0))
def test_verdicts_do_not_depend_on_the_unit(a, b, factor):
    def scaled(cost):
        return Cost((Part(cost.grams * factor, *_gain(cost)),), cost.random * factor)

    def _gain(cost):
        return cost.parts[0].systematic, cost.parts[0].gain_id

    gap = abs(a.grams - b.grams)
    if gap > 1e-6:
        assert energy_verdict(a, b) == energy_verdict(scaled(a), scaled(b)) or _close(a, b)


def _close(a, b):
    """Whether rounding alone decides."""
    wider = [Cost(c.parts, c.random * (1 + 1e-9) + 1e-12) for c in (a, b)]
    return energy_verdict(a, b) != energy_verdict(*wider)


def test_latencies_are_ranked_where_their_intervals_are_apart():
    def seconds(low, high):
        return Interval(value=(low + high) / 2, low=low, high=high)

    assert latency_verdict(seconds(1, 2), seconds(3, 4)) == "faster"
    assert latency_verdict(seconds(3, 4), seconds(1, 2)) == "slower"
    assert latency_verdict(seconds(1, 3), seconds(3, 4)) == "undecided"
    assert latency_verdict(Interval(value=1.0), seconds(3, 4)) == "undecided"


@pytest.fixture
def make(make_measurement):
    """A measurement of so many J in each window, and so many s in each call of each window."""

    def make(model, energies=(1.0, 1.0, 1.0), times=(0.01, 0.01, 0.01), **changes):
        def one(value, component="cpu"):
            return EnergyBreakdown(
                **{component: energy(value, 0.0, systematic=0.5, gain_id="g", source="modelled", sensor="s")}
            )

        windows = tuple(
            Window(start_s=float(i), duration_s=1.0, calls=1, latencies_s=(seconds,), energy=one(value))
            for i, (value, seconds) in enumerate(zip(energies, times, strict=True))
        )
        mean = sum(energies) / len(energies)
        middle = sorted(times)[len(times) // 2]
        fields = {"windows": windows, "latency_s": Interval(value=middle, low=min(times), high=max(times))}
        return make_measurement(model, one(mean), **{**fields, **changes})

    return make


def test_the_random_error_of_a_query_comes_from_its_windows(make):
    m = make("fno", (1.0, 1.1, 1.2))
    cost = energy_cost(m, ("cpu",))
    # Student's quantile of two degrees of freedom is 4.303, the deviation of a window 0.1.
    assert cost.grams == pytest.approx(1.1)
    assert cost.random == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert energy_cost(m, ("cpu", "dram")) is None
    assert energy_cost(m, ()) is None
    disturbed = m.windows[2].model_copy(update={"counts": False})
    fewer = m.model_copy(update={"windows": (*m.windows[:2], disturbed)})
    assert energy_cost(fewer, ("cpu",)).random == pytest.approx(12.7062 * 0.1 / 2, rel=1e-4)


@pytest.fixture
def runs(make_run):
    return [make_run(model, EnergyBreakdown()) for model in ("unet", "fno", "tfno")]


def test_candidates_stand_by_their_energy_with_the_places_they_may_have(make, runs):
    found = compare(
        [
            make("unet", (3.0, 3.01, 2.99), (0.010, 0.0101, 0.0099)),
            make("fno", (1.0, 1.1, 0.9), (0.020, 0.0201, 0.0199)),
            make("tfno", (1.1, 1.2, 1.0), (0.030, 0.0301, 0.0299)),
        ],
        runs,
    )
    (contest,) = found.contests
    assert contest.components == ("cpu",)
    assert [e.model for e in contest.entrants] == ["fno", "tfno", "unet"]
    places = [(e.energy_places, e.latency_places) for e in contest.entrants]
    assert places == [
        (Places(first=1, last=2), Places(first=2, last=2)),
        (Places(first=1, last=2), Places(first=3, last=3)),
        (Places(first=3, last=3), Places(first=1, last=1)),
    ]
    pairs = {(p.a.split()[0], p.b.split()[0]): (p.energy, p.latency) for p in contest.pairs}
    assert pairs == {
        ("fno", "tfno"): ("undecided", "faster"),
        ("fno", "unet"): ("cheaper", "slower"),
        ("tfno", "unet"): ("cheaper", "slower"),
    }
    # The whole interval holds the gain, which the verdicts leave out.
    assert contest.entrants[2].energy_j.high > 4.4


def test_only_equal_queries_on_one_device_meet(make, runs):
    found = compare(
        [
            make("unet"),
            make("fno", batch=2),
            make("tfno", device_id="another CPU"),
            make("fno", scenario="rollout", steps=10),
            make("tfno", grid=(64, 128)),
            make("fno", runtime="eager"),
            make("fno", precision="bf16"),
        ],
        runs,
    )
    names = sorted(sorted(e.name for e in contest.entrants) for contest in found.contests)
    assert names == [
        ["fno eager", "fno onnxruntime bf16", "unet onnxruntime"],
        ["fno onnxruntime"],
        ["fno onnxruntime"],
        ["tfno onnxruntime"],
        ["tfno onnxruntime"],
    ]


def test_the_best_and_newest_measurement_of_the_present_run_counts(make, runs):
    measured = [
        make("fno", (5.0,) * 3, protocol="full"),
        make("fno", (6.0,) * 3, created=LATER),
        make("unet", (2.0,) * 3),
        make("unet", (3.0,) * 3, created=LATER),
        make("unet", (4.0,) * 3, created=MUCH_LATER, protocol="paper"),
        make("tfno", (1.0,) * 3),
        make("ufno", (1.0,) * 3),
    ]
    runs[2] = runs[2].model_copy(update={"created": LATER})
    (contest,) = compare(measured, runs).contests
    assert [(e.model, e.energy_j.value) for e in contest.entrants] == [("unet", 3.0), ("fno", 5.0)]


def test_on_a_board_its_energy_must_be_there(make, runs, make_energy):
    def on_board(model, gpu):
        parts = {"cpu": make_energy(1.0)} | ({"gpu": make_energy(gpu)} if gpu else {})
        return make(model, device="cuda:0").model_copy(
            update={"energy_per_query": EnergyBreakdown(**parts), "windows": ()}
        )

    (contest,) = compare([on_board("unet", 3.0), on_board("fno", 2.0), on_board("tfno", None)], runs).contests
    assert contest.components == ("gpu", "cpu")
    known = [(e.model, None if e.energy_j is None else e.energy_j.value) for e in contest.entrants]
    assert known == [("fno", 3.0), ("unet", 4.0), ("tfno", None)]
    assert contest.entrants[2].energy_places is None
    # No windows: no interval, no verdict.
    assert {p.energy for p in contest.pairs} == {"undecided"}
