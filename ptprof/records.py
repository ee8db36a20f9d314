"""Every record that ptprof writes to disk.

Units end the names: joules ``_j``, seconds ``_s``, watts ``_w``, bytes ``_bytes``. A value that was
not obtained is ``None`` with its reason beside it, never a zero; NaN and infinity are refused.
"""

from __future__ import annotations

from statistics import fmean
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
    idle was not measured. ``source`` says how the figure was obtained, ``sensor`` by what; ``projected_from``
    is the source of what a projected figure was made from.
    """

    joules: float = Field(ge=0)
    low: float
    high: float
    systematic: float = Field(ge=0)
    gain_id: str
    active_joules: float | None = None
    source: Source
    sensor: str
    projected_from: Source | None = None
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
    """Per-channel mean and standard deviation, in the order of ``fields``.

    ``change_std`` is the deviation of a field's change from one state to the next; empty where it is not
    known.
    """

    fields: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    change_std: tuple[float, ...] = ()


class Physics(Value):
    """How far forecasts keep to the physics of the flow; None where that is undefined.

    ``divergence`` is in units of the truth's velocity gradient, ``energy_spectrum_error`` in decades,
    ``tracer_mean_drift`` in standard deviations of the tracer, the others are relative errors.
    ``*_truth`` is the figure of the data themselves, the floor that a forecast is read against.
    """

    divergence: float | None = None
    divergence_truth: float | None = None
    vorticity_vrmse: float | None = None
    energy_spectrum_error: float | None = None
    tracer_mean_drift: float | None = None
    tracer_mean_drift_truth: float | None = None
    tracer_variance_error: float | None = None


class Scores(Value):
    """Accuracy at one lead time, by field; None where a score is undefined (a constant field).

    ``spectral_nmse`` holds one figure for each band of wave numbers, the longest waves first.
    """

    pearson_r: dict[str, float | None]
    vrmse: dict[str, float | None]
    nrmse: dict[str, float | None] = {}
    spectral_nmse: dict[str, tuple[float | None, ...]] = {}
    physics: Physics = Physics()

    def mean(self, name: Literal["pearson_r", "vrmse", "nrmse"]) -> float | None:
        """The mean of a score over the fields that define it; None where any field's forecast diverged.

        VRMSE is defined for every finite forecast, so that a field without one has diverged.
        """
        scores: dict[str, float | None] = getattr(self, name)
        defined = [score for score in scores.values() if score is not None]
        return fmean(defined) if defined and None not in self.vrmse.values() else None


class Accuracy(Value):
    """Scores on the test split: one step, and every step of a rollout."""

    one_step: Scores
    rollout: tuple[Scores, ...] = ()


class Execution(Value):
    """How a training computed; each of it may change the weights that it ends with.

    ``batch`` windows of each of ``processes`` make one step, ``accumulate`` parts of them after each other;
    None for the recipe's. ``channels_last`` is how fields and weights of convolutions are laid out in memory;
    ``compiled`` says whether `torch.compile` was used.
    """

    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    channels_last: bool = True
    compiled: bool = False
    accumulate: int = 1
    batch: int | None = None
    processes: int = 1


PLAIN = Execution()
"""float32 in one process, as the recipe has it."""


class Epoch(Value):
    """One line of ``runs/<run>/epochs.jsonl``; losses are mean squares of standardised fields."""

    epoch: int
    steps: int
    train_loss: float
    valid_loss: float
    learning_rate: float
    duration_s: float
    energy: EnergyBreakdown


class ModelRecord(Record):
    """One model with weights; what its training cost (`RunRecord`), or would cost (`EstimateRecord`).

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
    energy: EnergyBreakdown
    device: str
    execution: Execution = PLAIN
    environment: Environment
    created: str


class RunRecord(ModelRecord):
    """``runs/<run>/run.json``: one trained model and what its training cost.

    ``duration_s`` and ``energy`` hold all that was spent, ``lost_s`` and ``lost_energy`` the part of it that
    went into epochs that were cut short and done again.
    """

    lost_s: float = 0.0
    lost_energy: EnergyBreakdown | None = None
    best_epoch: int
    best_valid_loss: float
    accuracy: Accuracy
    persistence: Accuracy


class Parity(Value):
    """How far an exported file is from the trained model, relative L2 on test windows.

    ``one_step`` and ``rollout`` compare with the trained model in fp32; ``*_float64`` with the same
    model in float64, ``reference_float64`` being the trained fp32 model's own distance from it.
    ``gate`` is what ``one_step_float64`` had to stay below. The windows are ``synthetic`` where the model was
    not trained.
    """

    windows: int
    synthetic: bool = False
    rollout_steps: int
    one_step: float
    rollout: float
    one_step_float64: float
    reference_float64: float
    gate: float
    by_field: dict[str, float]
    provider: str


def variant_of(nfe: int | None) -> str:
    """The variant of an export with ``nfe`` evaluations of its network per step; the default one for None."""
    return "" if nfe is None else f"nfe{nfe}"


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
    ``calls * batch`` while ``latency_s`` is the median wall time of a call. ``nfe`` is how often each step
    evaluated the network of a model that samples, None for the others.
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
    nfe: int | None = None
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


class Block(Value):
    """One metered window over ``steps`` steps of a training; ``start_s`` counts from the first of all."""

    start_s: float
    duration_s: float
    steps: int = Field(gt=0)
    energy: EnergyBreakdown


class EstimateRecord(ModelRecord):
    """``runs/<run>/estimate.json``: what a training would cost, projected from some steps of it.

    ``epochs``, ``steps``, ``duration_s`` and ``energy`` are those of the training that was not made;
    ``duration_interval_s`` has the interval of its length. An epoch has ``train_steps`` and ``valid_steps``,
    in full batches; the blocks are what was sampled of them, raw, in ``sampled_s`` with the warm-up. What
    they leave uncertain in the cost of an epoch, gain errors aside, is ``half_width``, relative, at 95 %:
    None where it cannot be told; ``unmet`` says what is lacking to ``goal``. The weights are those that the
    sampled steps left.
    """

    duration_interval_s: Interval
    train_steps: float
    valid_steps: float
    warm_up_steps: int
    train_blocks: tuple[Block, ...]
    valid_blocks: tuple[Block, ...]
    sampled_s: float
    goal: float
    half_width: float | None
    unmet: str | None
    synthetic_data: bool
    flags: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the cost of an epoch is known to ``goal``."""
        return self.unmet is None

    @property
    def sampled_steps(self) -> int:
        """The training steps that were sampled."""
        return sum(block.steps for block in self.train_blocks)


class ServedModelTotal(Value):
    """What a server has answered with one run: requests, and forecast steps of each initial state.

    Energy and emissions are those of the requests that were metered; ``unmetered_requests`` were not.
    """

    model: str
    run: str
    requests: int
    steps: int
    energy_j: float
    co2eq_g: float
    unmetered_requests: int


class ServedRecord(Record):
    """``served/<started>-<id>.json``: the running total of one server."""

    started: str
    updated: str
    models: tuple[ServedModelTotal, ...]


class PinnStage(Value):
    """One line of a PINN's ``epochs.jsonl``: a stretch of steps, and what they came to.

    ``steps`` and ``evaluations`` (of the loss and its gradient) are counted from the training's beginning;
    ``duration_s`` and ``energy`` are the stretch's own. ``test_mse`` is the mean square error over the whole
    grid; it decides nothing.
    """

    optimizer: Literal["adam", "l-bfgs"]
    steps: int
    evaluations: int
    loss: float
    test_mse: float
    duration_s: float
    energy: EnergyBreakdown


class PinnTraining(Record):
    """One network trained on Burgers' equation, and what that cost.

    ``points`` is the size of the data set and the number of collocation points. ``stopped`` says why: the
    planned steps were done, or L-BFGS no longer lowered the loss.
    """

    run: str
    model: str
    recipe: str
    recipe_sha256: str
    seed: int
    points: int
    parameters: int
    steps: int
    evaluations: int
    stopped: Literal["planned", "stalled"]
    loss: float
    test_mse: float
    duration_s: float
    energy: EnergyBreakdown
    device: str
    environment: Environment
    created: str


class PinnRecord(PinnTraining):
    """``runs/<run>/run.json`` of a PINN; ``kind`` tells it from a forecaster's."""

    kind: Literal["pinn"] = "pinn"
    checkpoint_sha256: str


class PinnPoint(PinnTraining):
    """``burgers/<run>.json``: one training of the sweep, with its stages and without its weights."""

    stages: tuple[PinnStage, ...]
