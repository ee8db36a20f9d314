"""The paper's own protocol, so that a row can stand beside its Table 2 and Fig. 5, and our counter beside
that.

The whole one-step test set, or one rollout from the beginning of each test trajectory, the loading of the
model included; three times; by Carbontracker, at 445 gCO2eq/kWh and with Carbontracker's PUE
(arXiv:2509.24517v2, Table 2, Fig. 5c). The same passes are metered as every other measurement is, and the two
figures stand side by side.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ptprof import stats
from ptprof.energy import EnergyMeter
from ptprof.energy.carbontracker import Carbontracker, Opinion
from ptprof.errors import UsageError
from ptprof.profile.bench import Info, Prepared, Setup
from ptprof.profile.fresh import FreshProcess, Job, energy_of_process, info_here, job_of
from ptprof.profile.protocol import PAPER
from ptprof.profile.rounds import Rounds
from ptprof.profile.scenarios import Scenario
from ptprof.profile.summary import Subject, summarise
from ptprof.records import JOULES_PER_KWH, Interval, Measurement, ModelRecord, Paper, Window

#: Steps of a rollout of Fig. 5c.
ROLLOUT_STEPS = 50
#: Queries of the paper's test set: 24 trajectories of 196 windows, and 24 rollouts.
QUERIES = {"one-step": 4704, "rollout": 24}
#: The paper's carbon intensity: the world's average of 2024 by the IEA's Electricity 2025, in Carbontracker.
INTENSITY_G_PER_KWH = 445.0
#: What Carbontracker 2.4.7 multiplies its energy by (``constants.PUE_2023``), as its users' figures hold it.
PUE = 1.58


@dataclass(frozen=True)
class Pass:
    """Once through the test set: the window, how long loading took in it (s), and what Carbontracker says."""

    window: Window
    load_s: float
    opinion: Opinion
    prepared: Prepared


def measure(
    subjects: Sequence[Subject],
    setup: Setup,
    *,
    emit: Callable[[Subject, Measurement], None],
    step: Callable[[int], None] = lambda windows: None,
    rng: random.Random | None = None,
) -> list[tuple[Subject, str]]:
    """Let each candidate answer the whole test set three times, each time in a fresh process.

    What a process imports is left out, the loading of the model and the reading of the states are not.
    Candidates take turns, in an order that is drawn.

    Parameters
    ----------
    emit : takes each candidate with its measurement
    step : told of every pass, and of passes that will not be

    Returns
    -------
    the candidates that could not answer, and why

    Raises
    ------
    UsageError : a scenario or a batch that is not the paper's
    """
    for subject in subjects:
        check(subject.scenario)
    with EnergyMeter(setup.meter_gpus, watts_per_core=setup.watts_per_core) as meter:
        origin_s = time.monotonic()
        with Carbontracker(setup.meter_gpus) as tracker:

            def attempt(subject: Subject) -> Pass:
                return once(_job(setup, subject), meter, tracker, setup.watts_per_core, origin_s=origin_s)

            rounds = Rounds(subjects, PAPER.windows, attempt, step=step, rng=rng)
        info = info_here(setup, meter)
    for subject, passes in rounds.done:
        emit(subject, summarised(subject, info, passes))
    return rounds.failures


def check(scenario: Scenario) -> None:
    """Raise UsageError for what the paper did not measure."""
    if scenario.name not in QUERIES:
        raise UsageError(f"the paper's protocol is for {' and '.join(QUERIES)}, not for {scenario.name}")
    if scenario.batch != 1:
        raise UsageError(f"the paper's protocol asks for one state at a time, not {scenario.batch}")


def once(
    job: Job, meter: EnergyMeter, tracker: Carbontracker, watts_per_core: float, *, origin_s: float = 0.0
) -> Pass:
    """One pass, from the loading of the model to the last answer.

    Raises
    ------
    MeasurementError : the model cannot be opened or asked, or the process has died
    """
    with ExitStack() as stack:
        process = stack.enter_context(FreshProcess(job))
        for part in ("start", "import"):
            process.until(part)
        tracker.start()
        with meter.window() as window:
            process.go_on()
            begin, load, queries = (process.until(part) for part in ("begin", "load", "queries"))
        opinion = tracker.stop()
        end = process.until("end")
    latencies_s = tuple(queries.facts["latencies_s"])
    spent = energy_of_process(window.breakdown(), queries.cpu_s - begin.cpu_s, watts_per_core)
    return Pass(
        window=Window(
            start_s=begin.at_s - origin_s,
            duration_s=queries.at_s - begin.at_s,
            calls=len(latencies_s),
            latencies_s=latencies_s,
            energy=spent,
        ),
        load_s=load.at_s - begin.at_s,
        opinion=opinion,
        prepared=Prepared(**load.facts, **end.facts),
    )


def summarised(subject: Subject, info: Info, passes: Sequence[Pass]) -> Measurement:
    """The measurement that the passes amount to, Carbontracker's figures in grams beside ours."""
    windows = [one.window for one in passes]
    peaks = [one.prepared.peak_host_bytes for one in passes if one.prepared.peak_host_bytes is not None]
    prepared = replace(passes[-1].prepared, peak_host_bytes=max(peaks, default=None))
    measured = summarise(subject, PAPER, prepared, info, windows, [])
    return measured.model_copy(update={"paper": _paper(subject.scenario, passes)})


def grams(joules: Sequence[float]) -> Interval:
    """The mean of passes (J) as the paper's grams, with Student's interval."""
    return stats.t_interval([j / JOULES_PER_KWH * INTENSITY_G_PER_KWH * PUE for j in joules])


def _paper(scenario: Scenario, passes: Sequence[Pass]) -> Paper:
    ours = [joules for one in passes if (joules := one.window.energy.joules) is not None]
    theirs = [one.opinion.joules for one in passes if one.opinion.joules is not None]
    whole = len(theirs) == len(passes)
    return Paper(
        queries=passes[0].window.calls,
        repetitions=len(passes),
        load_s=stats.t_interval([one.load_s for one in passes]),
        intensity_g_per_kwh=INTENSITY_G_PER_KWH,
        pue=PUE,
        ours_g=grams(ours) if len(ours) == len(passes) else None,
        carbontracker_j=stats.t_interval(theirs) if whole else None,
        carbontracker_g=grams(theirs) if whole else None,
        missing=None if whole else next(o.missing for o in (p.opinion for p in passes) if o.joules is None),
        notes=tuple(_notes(scenario, passes)),
    )


def _notes(scenario: Scenario, passes: Sequence[Pass]) -> list[str]:
    """What keeps the figures from being the paper's, and ours from being Carbontracker's."""
    notes = []
    asked, wanted = passes[0].window.calls, QUERIES[scenario.name]
    if asked != wanted:
        notes.append(f"{asked:,} queries, the paper's are {wanted:,}: loading is another share of them")
    if scenario.name == "rollout" and scenario.steps != ROLLOUT_STEPS:
        notes.append(f"rollouts of {scenario.steps} steps, the paper's have {ROLLOUT_STEPS}")
    boards = [(one.window.energy.gpu, one.opinion) for one in passes]
    ratios = [o.joules / gpu.joules for gpu, o in boards if gpu is not None and o.joules and gpu.joules]
    if len(ratios) == len(passes):
        ratio = stats.t_interval(ratios).value
        samples = min(one.opinion.samples for one in passes)
        notes.append(
            f"Carbontracker's GPU energy differs from the counter's by {ratio - 1:+.1%}: it takes {samples}"
            " samples of power or more a pass, each a mean over up to a second, the counter all of the energy"
        )
    others = [name for name in ("cpu", "dram") if name in passes[0].window.energy.present]
    if others and ratios:
        notes.append(f"ours holds the {' and '.join(others)} too, Carbontracker's the GPU alone")
    return notes


def _job(setup: Setup, subject: Subject) -> Job:
    if not isinstance(subject.run, ModelRecord):
        raise UsageError(f"the paper's protocol is for forecasters: {subject.run.model} is none")
    steps = subject.scenario.steps if subject.scenario.name == "rollout" else None
    return job_of(setup, subject, whole_split=True, steps=steps)
