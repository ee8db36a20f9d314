"""What a worker process does: holds the candidates of one runtime, and measures the one it is told to."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import torch

from ptprof.energy import Clock, EnergyMeter, MonotonicClock
from ptprof.energy.probe import driver
from ptprof.energy.visible import board_uuid
from ptprof.environment import cores, cpu_name, environment
from ptprof.export.artifact import deployable, open_artifact, windows
from ptprof.profile.memory import HostMemory, PeakOfOne, device_memory
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.scenarios import Scenario
from ptprof.profile.timing import measure_idle, measure_window, warm_up
from ptprof.records import EnergyBreakdown, Environment, ModelRecord, Window
from ptprof.runtimes import Runner, open_runner
from ptprof.study import Study

#: What each runtime opens; a runtime that is not here takes the trained module.
FORMATS = {"torchscript": "torchscript", "onnxruntime": "onnx"}


@dataclass(frozen=True)
class Setup:
    """What a bench is opened for; ``nfe`` is how often models that sample evaluate their networks."""

    study: Path
    runtime: str
    device: str
    watts_per_core: float
    nfe: int | None = None


@dataclass(frozen=True)
class Info:
    """What a bench finds where it is.

    ``device_id`` is the GPU's UUID or the processor's name; ``measures_idle`` says whether a sensor is there
    that sees the power of a machine without work, which the model of the CPU does not.
    """

    device_id: str
    environment: Environment
    measures_idle: bool


@dataclass(frozen=True)
class Prepared:
    """A candidate that is ready to be measured: what really runs it, its peak memory, its evaluations."""

    provider: str
    peak_host_bytes: int | None
    peak_device_bytes: int | None
    nfe: int | None = None


class Bench(Protocol):
    """A bench, here or in another process; its verbs raise PtprofError for what one candidate cannot do."""

    @property
    def info(self) -> Info: ...

    def prepare(self, run: ModelRecord, scenario: Scenario) -> Prepared:
        """Load the candidate if that has not been done, bind the query to a test window, answer it once."""

    def warm_up(self, run: ModelRecord, scenario: Scenario, seconds: float) -> int:
        """Answer for so many seconds; how often it was."""

    def window(self, run: ModelRecord, scenario: Scenario, protocol: MeasuringProtocol) -> Window:
        """Measure one window."""

    def idle(self, seconds: float) -> tuple[float, EnergyBreakdown]:
        """Do nothing for so long: how long it was (s), and what it took."""


@dataclass
class _Candidate:
    """A loaded model, what it answers to, and how its memory is seen."""

    runner: Runner
    host: PeakOfOne
    board: PeakOfOne | None


class LocalBench:
    """A bench in this process: one runtime on one device, and the models of a study."""

    def __init__(self, setup: Setup, clock: Clock | None = None) -> None:
        # What every candidate needs is loaded first, so that none of them is charged with it.
        import_module(f"ptprof.runtimes.{setup.runtime}")
        self._setup = setup
        self._study = Study(setup.study)
        self._clock = clock or MonotonicClock()
        self._threads = int(os.environ.get("OMP_NUM_THREADS") or cores())
        torch.set_num_threads(self._threads)
        self._candidates: dict[str, _Candidate] = {}
        self._calls: dict[tuple[str, Scenario], Callable[[], None]] = {}
        with ExitStack() as stack:
            if setup.device != "cpu":
                # The meter asks torch which board is which, and torch knows once CUDA has been started.
                torch.cuda.get_device_properties(setup.device)
            gpus = [] if setup.device == "cpu" else [torch.device(setup.device).index or 0]
            meter = EnergyMeter(gpus, clock=self._clock, watts_per_core=setup.watts_per_core)
            self._meter = stack.enter_context(meter)
            self._exit = stack.pop_all()
        self._host = HostMemory()
        self._base = self._host.in_use()
        self._origin_s = self._clock.now()
        self.info = Info(
            device_id=device_id(setup.device),
            environment=environment_of(setup.device),
            measures_idle=bool(gpus) and "gpu" not in self._meter.missing,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for candidate in self._candidates.values():
            candidate.runner.close()
        self._exit.close()

    def prepare(self, run: ModelRecord, scenario: Scenario) -> Prepared:
        candidate = self._candidates.get(run.run)
        if candidate is None:
            candidate = self._candidates[run.run] = self._load(run)
        else:
            for peak in (candidate.host, candidate.board):
                if peak is not None:
                    peak.again()
        state = query_states(self._study, run, scenario.batch).to(candidate.runner.device)
        query = scenario.bind(candidate.runner, state)

        def call() -> None:
            query()
            candidate.runner.synchronize()

        call()
        self._calls[run.run, scenario] = call
        return Prepared(
            provider=candidate.runner.provider,
            peak_host_bytes=candidate.host.answered(),
            peak_device_bytes=candidate.board.answered() if candidate.board else None,
            nfe=candidate.runner.nfe,
        )

    def warm_up(self, run: ModelRecord, scenario: Scenario, seconds: float) -> int:
        return warm_up(self._calls[run.run, scenario], seconds, self._clock)

    def window(self, run: ModelRecord, scenario: Scenario, protocol: MeasuringProtocol) -> Window:
        call = self._calls[run.run, scenario]
        return measure_window(call, protocol, self._meter, self._clock, origin_s=self._origin_s)

    def idle(self, seconds: float) -> tuple[float, EnergyBreakdown]:
        return measure_idle(seconds, self._meter, self._clock)

    def _load(self, run: ModelRecord) -> _Candidate:
        setup = self._setup
        memory = device_memory(setup.runtime, setup.device)
        host = PeakOfOne(self._host, self._base)
        board = PeakOfOne(memory, 0) if memory is not None else None
        with torch.inference_mode():
            candidate = _Candidate(self._open(run), host, board)
        for peak in (host, board):
            if peak is not None:
                peak.loaded()
        return candidate

    def _open(self, run: ModelRecord) -> Runner:
        setup = self._setup
        if setup.runtime in FORMATS:
            kind = FORMATS[setup.runtime]
            return open_artifact(
                self._study, run, kind, nfe=setup.nfe, device=setup.device, threads=self._threads
            )
        step = deployable(self._study, run, setup.nfe)
        return open_runner(setup.runtime, step, device=setup.device, threads=self._threads)


def query_states(study: Study, run: ModelRecord, batch: int) -> torch.Tensor:
    """``batch`` windows of the study's test split, repeated where there are fewer: ``(B, h, C, X, Y)``.

    Raises
    ------
    DataError : no test data in the study, or of another grid or other fields than the run's
    """
    states = windows(study.data, run, batch)
    return states[torch.arange(batch) % len(states)].contiguous()


def device_id(device: str) -> str:
    """What tells this device from others: a GPU's UUID, the processor's name."""
    if device == "cpu":
        return cpu_name()
    return board_uuid(torch.device(device).index or 0) or device


def environment_of(device: str) -> Environment:
    """This machine, with the GPU where one is measured."""
    if device == "cpu":
        return environment()
    return environment(gpus=(torch.cuda.get_device_name(device),), driver=driver())
