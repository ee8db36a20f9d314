"""The paper's protocol: what is metered, in whose grams, and what is said where a figure is missing."""

from __future__ import annotations

import pytest

from ptprof.energy import CpuModel, EnergyMeter
from ptprof.energy.carbontracker import Opinion
from ptprof.energy.combine import energy
from ptprof.errors import UsageError
from ptprof.profile import paper_protocol
from ptprof.profile.bench import Info, Prepared, Setup
from ptprof.profile.fresh import Job, Part
from ptprof.profile.paper import inference_g
from ptprof.profile.paper_protocol import Pass
from ptprof.profile.scenarios import scenario
from ptprof.profile.summary import Subject
from ptprof.records import EnergyBreakdown, Environment, Window

JOB = Job("eager", "cpu", 1, "fp32", False, None, "study", "fno-quick-s0", None, whole_split=True)
MACHINE = Environment(platform="p", python="3", cpu="c", cpu_cores=2, memory_bytes=1)
ONE_STEP = scenario("one-step", batch=1, steps=50)


class Process:
    """Loads in 2 s and answers four queries in 6 s, after 5 s of importing."""

    def __init__(self, clock, job):
        self._clock = clock
        self.began = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def go_on(self):
        self.began = True

    def until(self, part):
        assert self.began == (part not in ("start", "import"))
        self._clock.sleep({"import": 5.0, "load": 2.0, "queries": 6.0}.get(part, 0.0))
        facts = {
            "load": {"provider": "p", "nfe": None},
            "queries": {"latencies_s": [1.5] * 4},
            "end": {"peak_host_bytes": 7, "peak_device_bytes": None},
        }
        return Part(self._clock.now(), {"begin": 3.0, "queries": 13.0}.get(part, 0.0), facts.get(part, {}))


class Tracker:
    """Takes 90 W of whatever time lies between."""

    def __init__(self, clock):
        self._clock = clock

    def start(self):
        self._begun = self._clock.now()

    def stop(self):
        seconds = self._clock.now() - self._begun
        return Opinion(joules=90.0 * seconds, pue=1.58, samples=8, duration_s=seconds)


def test_a_pass_begins_with_loading_and_ends_with_the_last_answer(clock, monkeypatch):
    # The model sees this process, which waits: a hundredth of a CPU second.
    seconds = iter([0.0, 0.01])
    waiting = CpuModel(6.0, seconds=lambda: next(seconds))
    monkeypatch.setattr(paper_protocol, "FreshProcess", lambda job: Process(clock, job))
    with EnergyMeter(sensors=[waiting], clock=clock) as meter:
        found = paper_protocol.once(JOB, meter, Tracker(clock), 6.0, origin_s=1000.0)
    assert (found.window.start_s, found.window.duration_s, found.load_s) == (5.0, 8.0, 2.0)
    assert (found.window.calls, found.window.latencies_s) == (4, (1.5,) * 4)
    # Ten CPU seconds between the beginning and the last answer; importing is before.
    assert found.window.energy.cpu.joules == 60.0
    assert found.opinion.joules == 720.0


@pytest.fixture
def subject(make_run):
    return Subject(make_run("fno", EnergyBreakdown()), "eager", "cuda:0", ONE_STEP, "c")


def board(joules):
    return energy(joules, 0.0, systematic=0.05, gain_id="GPU-a", source="measured", sensor="n")


def passes(opinions, queries=4704, gpu=28_800.0, cpu=None):
    parts = {"gpu": board(gpu)} if gpu else {}
    if cpu:
        parts["cpu"] = energy(cpu, 0.0, systematic=0.5, gain_id="m", source="modelled", sensor="s")
    return [
        Pass(
            Window(
                start_s=0.0,
                duration_s=60.0,
                calls=queries,
                latencies_s=(0.012,) * queries,
                energy=EnergyBreakdown(**parts),
            ),
            3.0,
            opinion,
            Prepared("p", 1, 1),
        )
        for opinion in opinions
    ]


def summarised(subject, found):
    return paper_protocol.summarised(subject, Info("GPU-a", MACHINE, True), found)


def test_grams_hold_the_papers_intensity_and_carbontrackers_pue(subject):
    theirs = [Opinion(joules=joules, samples=60) for joules in (28_000.0, 28_500.0, 29_000.0)]
    m = summarised(subject, passes(theirs))
    # 480 W for a minute at 445 g/kWh and 1.58: the hand calculation beside Table 2 has 496 W and no PUE.
    assert m.paper.ours_g.value == pytest.approx(28_800 / 3.6e6 * 445 * 1.58)
    assert m.paper.carbontracker_j.value == 28_500.0
    assert m.paper.carbontracker_g.value == pytest.approx(28_500 / 3.6e6 * 445 * 1.58)
    assert m.paper.missing is None
    assert (m.protocol, m.paper.queries, m.paper.repetitions, m.paper.load_s.value) == ("paper", 4704, 3, 3.0)
    # Loading is spread over the queries, as in the paper.
    assert m.energy_per_query.gpu.joules == pytest.approx(28_800 / 4704)
    (note,) = m.paper.notes
    assert "differs from the counter's by -1.0%" in note
    assert "60 samples" in note


def test_what_is_not_as_in_the_paper_is_said(subject, make_run):
    theirs = [Opinion(joules=20_000.0, samples=6)] * 3
    m = summarised(subject, passes(theirs, queries=200, cpu=1000.0))
    assert m.paper.notes[0] == "200 queries, the paper's are 4,704: loading is another share of them"
    assert m.paper.notes[2] == "ours holds the cpu too, Carbontracker's the GPU alone"
    rolled = Subject(subject.run, "eager", "cuda:0", scenario("rollout", batch=1, steps=10), "c")
    m = summarised(rolled, passes(theirs, queries=24))
    assert m.paper.notes[0] == "rollouts of 10 steps, the paper's have 50"


def test_without_a_gpu_the_modelled_cpu_stands_in_and_the_reason_is_kept(subject):
    m = summarised(subject, passes([Opinion(missing="none is metered")] * 3, gpu=None, cpu=600.0))
    assert m.paper.carbontracker_j is m.paper.carbontracker_g is None
    assert m.paper.missing == "none is metered"
    assert m.paper.ours_g.value == pytest.approx(600 / 3.6e6 * 445 * 1.58)
    # One pass that has none leaves no figure: the mean of two is another one.
    two = [Opinion(joules=1.0, samples=1)] * 2 + [Opinion(missing="it has died")]
    assert summarised(subject, passes(two)).paper.missing == "it has died"


@pytest.mark.parametrize(
    ("name", "batch", "words"), [("cold-start", 1, "not for cold-start"), ("rollout", 2, "one")]
)
def test_what_the_paper_did_not_measure_is_refused(subject, study, name, batch, words):
    asked = Subject(subject.run, "eager", "cpu", scenario(name, batch=batch, steps=50), "c")
    setup = Setup(study.root, "eager", "cpu", 6.0)
    with pytest.raises(UsageError, match=words):
        paper_protocol.measure([asked], setup, emit=lambda one, m: None)


def test_table_2_per_query():
    # The project's own hand calculation takes table grams over 4,704 queries.
    assert inference_g()["ufno"] == pytest.approx(9.00 / 4704)
    assert inference_g()["unet"] == pytest.approx(3.68 / 4704)
    assert len(inference_g()) == 7
