"""What a worker process does: holds the candidates of one runtime, and measures the one it is told to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import torch

from ptprof.energy import Clock, EnergyMeter, MonotonicClock
from ptprof.energy.probe import driver
from ptprof.energy.trace import PowerTrace
from ptprof.energy.visible import GpuName, board_uuid
from ptprof.environment import cpu_name, environment, host_id, own_cores, threads
from ptprof.errors import MeasurementError
from ptprof.export.artifact import inputs, open_model
from ptprof.profile import load, roofline
from ptprof.profile.memory import HostMemory, PeakOfOne, device_memory
from ptprof.profile.protocol import MeasuringProtocol
from ptprof.profile.scenarios import Scenario
from ptprof.profile.timing import measure_idle, measure_window, warm_up_until_steady
from ptprof.records import Environment, Idle, Model, ModelRecord, PluginSource, Window, Work
from ptprof.runtimes import Runner, plugin_of, runner_class
from ptprof.runtimes.base import answer_shape
from ptprof.runtimes.cuda_graph import CALLS_BEFORE
from ptprof.study import Study


@dataclass(frozen=True)
class Setup:
    """What a bench is opened for.

    Attributes
    ----------
    nfe : how often models that sample evaluate their networks; as their recipes say where None
    threads : of the CPU, in one query; as many as `ptprof.environment.threads` where None
    precision, tf32 : of the products
    meter_gpus : the boards whose energy is measured, by visible index or UUID
    device_idle_s : how long (s) to measure the boards before anything uses them
    counts_work : whether to count the operations of a step, and to measure what the machine does at best
    """

    study: Path
    runtime: str
    device: str
    watts_per_core: float
    nfe: int | None = None
    threads: int | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    tf32: bool = False
    meter_gpus: tuple[GpuName, ...] = ()
    device_idle_s: float = 0.0
    counts_work: bool = False

    @property
    def arithmetic(self) -> Literal["fp32", "tf32", "bf16"]:
        """The precision as a measurement names it."""
        return "tf32" if self.tf32 else self.precision


@dataclass(frozen=True)
class Info:
    """What a bench finds where it is.

    ``device_id`` is the GPU's UUID or the processor's name; ``measures_idle`` says whether a sensor is there
    that sees the power of a machine without work, which the model of the CPU does not. ``tick_s`` is the
    tick of the slowest counter, 0 where none ticks. ``metered_gpus`` are UUIDs. ``cores`` are those that the
    process is held to, ``host`` tells its machine. ``plugins`` are those of the runtime and of the sensors.
    """

    device_id: str
    environment: Environment
    measures_idle: bool
    tick_s: float = 0.0
    metered_gpus: tuple[str, ...] = ()
    device_idle: Idle | None = None
    cores: tuple[int, ...] = field(default_factory=own_cores)
    host: str = field(default_factory=host_id)
    plugins: tuple[PluginSource, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A candidate that is ready to be measured: what really runs it, its peak memory, its evaluations."""

    provider: str
    peak_host_bytes: int | None
    peak_device_bytes: int | None
    nfe: int | None = None
    work: Work | None = None


class Bench(Protocol):
    """A bench, here or in another process; its verbs raise PtprofError for what one candidate cannot do."""

    @property
    def info(self) -> Info: ...

    def prepare(self, run: Model, scenario: Scenario) -> Prepared:
        """Load the candidate if that has not been done, bind the query to a test window, answer it once."""

    def warm_up(self, run: Model, scenario: Scenario, protocol: MeasuringProtocol) -> int:
        """Answer until the candidate is warm; how often it was."""

    def window(self, run: Model, scenario: Scenario, protocol: MeasuringProtocol, number: int) -> Window:
        """Measure the candidate's window of that number, from 0."""

    def idle(self, seconds: float) -> Idle:
        """Do nothing for so long."""


@dataclass
class _Candidate:
    """A loaded model, what it answers to, and how its memory is seen."""

    runner: Runner
    host: PeakOfOne
    board: PeakOfOne | None


@dataclass
class _Bound:
    """A candidate's query, and how long a call of it has taken (s)."""

    call: Callable[[], None]
    usual_s: float = 0.0


class LocalBench:
    """A bench in this process: one runtime on one device, and the models of a study."""

    def __init__(self, setup: Setup, clock: Clock | None = None) -> None:
        # What every candidate needs is loaded first, so that none of them is charged with it.
        runner_class(setup.runtime)
        self._setup = setup
        self._study = Study(setup.study)
        self._clock = clock or MonotonicClock()
        self._threads = setup.threads or threads()
        torch.set_num_threads(self._threads)
        self._candidates: dict[str, _Candidate] = {}
        self._bound: dict[tuple[str, Scenario], _Bound] = {}
        self._trace: PowerTrace | None = None
        with ExitStack() as stack:
            known = all(isinstance(gpu, str) for gpu in setup.meter_gpus)
            if setup.device != "cpu" and not known:
                # The meter asks torch which board is which, and torch knows once CUDA has been started.
                torch.cuda.get_device_properties(setup.device)
            meter = EnergyMeter(setup.meter_gpus, clock=self._clock, watts_per_core=setup.watts_per_core)
            self._meter = stack.enter_context(meter)
            device_idle = self._device_idle() if known else None
            self._exit = stack.pop_all()
        self._host = HostMemory()
        self._base = self._host.in_use()
        self._origin_s = self._clock.now()
        self.info = Info(
            device_id=device_id(setup.device),
            environment=environment_of(setup.device, self._meter),
            measures_idle=self._meter.sees_idle,
            tick_s=self._meter.tick_s,
            metered_gpus=self._meter.boards,
            device_idle=device_idle,
            plugins=plugins_of(setup.runtime, self._meter),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for candidate in self._candidates.values():
            candidate.runner.close()
        self._exit.close()

    def prepare(self, run: Model, scenario: Scenario) -> Prepared:
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

        # A GPU may record a query and replay it from then on: what that takes is none of a window's.
        for _ in range(1 if self._setup.device == "cpu" else CALLS_BEFORE + 1):
            call()
        due = answer_shape(state, scenario.length, candidate.runner.signature)
        if tuple(query.result.shape) != due:
            raise MeasurementError(
                f"{self._setup.runtime} answers with {tuple(query.result.shape)}, where {due} is due"
            )
        self._bound[run.run, scenario] = _Bound(call)
        return Prepared(
            provider=candidate.runner.provider,
            peak_host_bytes=candidate.host.answered(),
            peak_device_bytes=candidate.board.answered() if candidate.board else None,
            nfe=candidate.runner.nfe,
            work=self._work(run, scenario),
        )

    def warm_up(self, run: Model, scenario: Scenario, protocol: MeasuringProtocol) -> int:
        bound = self._bound[run.run, scenario]
        begun = self._clock.now()
        calls = warm_up_until_steady(bound.call, protocol, self._meter, self._clock)
        bound.usual_s = (self._clock.now() - begun) / calls
        return calls

    def window(self, run: Model, scenario: Scenario, protocol: MeasuringProtocol, number: int) -> Window:
        bound = self._bound[run.run, scenario]
        if scenario.name == "load":
            return load.measure_window(
                bound.call, scenario, self._meter, self._clock, seed=number, origin_s=self._origin_s
            )
        return measure_window(
            bound.call,
            protocol,
            self._meter,
            self._clock,
            origin_s=self._origin_s,
            usual_s=bound.usual_s,
            on_board=self._setup.device != "cpu",
            trace=self._traced() if protocol.strict else None,
        )

    def idle(self, seconds: float) -> Idle:
        return measure_idle(seconds, self._meter, self._clock)

    def _device_idle(self) -> Idle | None:
        """What the boards take before this process uses them; None where nobody asks, or nothing sees it."""
        setup = self._setup
        if setup.device == "cpu" or not setup.device_idle_s or not self._meter.boards:
            return None
        return measure_idle(setup.device_idle_s, self._meter, self._clock).model_copy(
            update={"kind": "device"}
        )

    def _traced(self) -> PowerTrace | None:
        """The instant power of the boards, sampled from the first window on that asks for it."""
        if self._trace is None and self._meter.boards:
            self._trace = self._exit.enter_context(PowerTrace(self._meter.boards))
        return self._trace

    def _work(self, run: Model, scenario: Scenario) -> Work | None:
        setup = self._setup
        if not setup.counts_work or not isinstance(run, ModelRecord):
            return None
        return roofline.work(
            self._study,
            run,
            batch=scenario.batch,
            nfe=setup.nfe,
            precision=setup.arithmetic,
            peaks=roofline.peaks(setup.device, setup.arithmetic, self._threads),
        )

    def _load(self, run: Model) -> _Candidate:
        setup = self._setup
        memory = device_memory(setup.runtime, setup.device)
        host = PeakOfOne(self._host, self._base)
        board = PeakOfOne(memory, 0) if memory is not None else None
        with torch.inference_mode():
            runner = open_model(
                self._study,
                run,
                setup.runtime,
                nfe=setup.nfe,
                precision=setup.precision,
                tf32=setup.tf32,
                device=setup.device,
                threads=self._threads,
            )
        for peak in (host, board):
            if peak is not None:
                peak.loaded()
        return _Candidate(runner, host, board)


def query_states(study: Study, run: Model, batch: int) -> torch.Tensor:
    """What ``batch`` queries ask of ``run``: windows of the study's test split ``(B, h, C, X, Y)``.

    They are repeated where there are fewer. A PINN is asked for points ``(B, 2)``.

    Raises
    ------
    DataError : no test data in the study, or of another grid or other fields than the run's
    """
    states = inputs(study.data, run, batch)
    return states[torch.arange(batch) % len(states)].contiguous()


def device_id(device: str) -> str:
    """What tells this device from others: a GPU's UUID, the processor's name."""
    if device == "cpu":
        return cpu_name()
    return board_uuid(torch.device(device).index or 0) or device


def plugins_of(runtime: str, meter: EnergyMeter) -> tuple[PluginSource, ...]:
    """The code of ``runtime`` and of what is metered by, as far as it is not ptprof's own."""
    source = plugin_of(runtime)
    return tuple(dict.fromkeys((*([source] if source else []), *meter.plugins)))


def environment_of(device: str, meter: EnergyMeter) -> Environment:
    """This machine, with the GPU that is measured and the boards that are metered."""
    boards = meter.board_facts()
    names = () if device == "cpu" else (torch.cuda.get_device_name(device),)
    return environment(gpus=names, driver=driver() if names or boards else None, boards=boards)
