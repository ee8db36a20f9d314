"""Every record that ptprof writes to disk.

Units end the names: joules ``_j``, seconds ``_s``, watts ``_w``, bytes ``_bytes``. A value that was
not obtained is ``None`` with its reason beside it, never a zero; NaN and infinity are refused.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION: Literal[1] = 1

Source = Literal["measured", "modelled", "assumed", "projected", "given"]
Component = Literal["gpu", "cpu", "dram"]
COMPONENTS: tuple[Component, ...] = ("gpu", "cpu", "dram")


class Value(BaseModel):
    """Base of the immutable values that records are made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Record(Value):
    """Base of what is one file on disk; the schema version stands first."""

    schema_version: Literal[1] = SCHEMA_VERSION


class Interval(Value):
    """A figure with its 95 % interval; ``low`` and ``high`` are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


class Energy(Value):
    """Joules of one component, and how far they can be trusted.

    ``low`` and ``high`` (J) hold random and systematic error together, at 95 %. ``systematic`` is the
    relative half-width of the gain error that every figure of the same ``gain_id`` shares (board
    UUID, RAPL socket, ``cpu-model``). ``active_joules`` is ``joules`` less the idle share, None where
    idle was not measured. ``source`` says how the figure was obtained, ``sensor`` by what.
    """

    joules: float = Field(ge=0)
    low: float
    high: float
    systematic: float = Field(ge=0)
    gain_id: str
    active_joules: float | None = None
    source: Source
    sensor: str
    flags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.joules <= self.high:
            raise ValueError(f"low {self.low} <= joules {self.joules} <= high {self.high} must hold")
        return self


class EnergyBreakdown(Value):
    """Energy by component; a component that is None has its reason in ``missing``."""

    gpu: Energy | None = None
    cpu: Energy | None = None
    dram: Energy | None = None
    missing: dict[str, str] = {}

    @property
    def present(self) -> dict[Component, Energy]:
        """The components that there are."""
        return {c: e for c in COMPONENTS if (e := getattr(self, c)) is not None}

    @property
    def joules(self) -> float | None:
        """The sum of the components present; None where there is none."""
        present = self.present
        return sum(e.joules for e in present.values()) if present else None


class Environment(Value):
    """Where a figure was obtained."""

    platform: str
    python: str
    cpu: str
    cpu_cores: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    driver: str | None = None
    libraries: dict[str, str] = {}
    container: bool = False


class Statistics(Value):
    """Per-channel mean and standard deviation, in the order of ``fields``."""

    fields: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Scores(Value):
    """Accuracy by field at one lead time; None where a score is undefined (a constant field)."""

    pearson_r: dict[str, float | None]
    vrmse: dict[str, float | None]


class Accuracy(Value):
    """Scores on the test split: one step, and every step of a rollout."""

    one_step: Scores
    rollout: tuple[Scores, ...] = ()


class Epoch(Value):
    """One line of ``runs/<run>/epochs.jsonl``; losses are mean squares of standardised fields."""

    epoch: int
    steps: int
    train_loss: float
    valid_loss: float
    learning_rate: float
    duration_s: float
    energy: EnergyBreakdown


class RunRecord(Record):
    """``runs/<run>/run.json``: one trained model and what its training cost.

    ``recipe_sha256`` tells apart recipes of one name whose settings for this model differ.
    """

    run: str
    model: str
    recipe: str
    recipe_sha256: str
    seed: int
    parameters: int
    grid: tuple[int, int]
    history: int
    statistics: Statistics
    data_sha256: str
    checkpoint_sha256: str
    epochs: int
    steps: int
    duration_s: float
    best_epoch: int
    best_valid_loss: float
    energy: EnergyBreakdown
    accuracy: Accuracy
    persistence: Accuracy
    device: str
    environment: Environment
    created: str


class Parity(Value):
    """How far an exported file is from the trained model, relative L2 on real test windows.

    ``one_step`` and ``rollout`` compare with the trained model in fp32; ``*_float64`` with the same
    model in float64, ``reference_float64`` being the trained fp32 model's own distance from it.
    ``gate`` is what ``one_step_float64`` had to stay below.
    """

    windows: int
    rollout_steps: int
    one_step: float
    rollout: float
    one_step_float64: float
    reference_float64: float
    gate: float
    by_field: dict[str, float]
    provider: str


class ArtifactFile(Value):
    """One exported file of an artifact."""

    name: str
    format: Literal["onnx", "torchscript", "pt2"]
    precision: Literal["fp32", "bf16"] = "fp32"
    variant: str = ""
    sha256: str
    size_bytes: int
    opset: int | None = None
    parity: Parity


class ArtifactRecord(Record):
    """``artifacts/<run>/artifact.json``: what was exported from one run."""

    run: str
    model: str
    recipe: str
    grid: tuple[int, int]
    history: int
    statistics: Statistics
    checkpoint_sha256: str
    files: tuple[ArtifactFile, ...]
    environment: Environment
    created: str


class Window(Value):
    """One measuring window, raw: ``calls`` calls in ``duration_s``, the joules of each component.

    ``start_s`` counts from the start of the session. ``latencies_s`` holds the wall time of each call.
    """

    start_s: float
    duration_s: float
    calls: int
    latencies_s: tuple[float, ...]
    energy: EnergyBreakdown
    flags: tuple[str, ...] = ()


class Measurement(Record):
    """What one query cost on one runtime, device, scenario and batch size, with the raw samples.

    A query is one forecast from one initial state: one step, or one rollout of ``steps`` steps. A
    call serves ``batch`` queries at once, so ``energy_per_query`` is the window's energy over
    ``calls * batch`` while ``latency_s`` is the median wall time of a call.
    """

    run: str
    model: str
    runtime: str
    provider: str
    device: str
    device_id: str
    scenario: Literal["one-step", "rollout"]
    batch: int
    steps: int
    precision: Literal["fp32", "bf16"] = "fp32"
    variant: str = ""
    protocol: Literal["quick", "full"]
    grid: tuple[int, int]
    artifact_sha256: str
    latency_s: Interval
    throughput_per_s: Interval
    peak_host_bytes: int | None
    peak_device_bytes: int | None
    energy_per_query: EnergyBreakdown
    idle_power_w: dict[str, float]
    windows: tuple[Window, ...]
    converged: bool
    flags: tuple[str, ...] = ()
    environment: Environment
    created: str
