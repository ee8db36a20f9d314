"""What was trained or projected, and what that costs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ptprof.records.accuracy import Accuracy, Statistics
from ptprof.records.base import Environment, Interval, Record, Value
from ptprof.records.joules import EnergyBreakdown


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


class PluginSource(Value):
    """Code that is not ptprof's own: the name of its file or module, and the digest of its source."""

    name: str
    sha256: str


class ModelRecord(Record):
    """One model with weights; what its training cost (`RunRecord`), or would cost (`EstimateRecord`).

    ``recipe_sha256`` tells apart recipes of one name whose settings for this model differ. ``plugin`` has the
    code of a model that is not ptprof's own.
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
    plugin: PluginSource | None = None
    environment: Environment
    created: str

    @property
    def plugin_sha256(self) -> str | None:
        """The digest of the plugin's code; None of ptprof's own models."""
        return None if self.plugin is None else self.plugin.sha256

    @property
    def devices(self) -> int:
        """How many boards the training kept busy; of processors, how many machines."""
        return 1 if self.device == "cpu" else self.execution.processes


class TrainingHost(Value):
    """A machine of a training on several processes: how many it had, and which boards they metered."""

    processes: int
    boards: tuple[str, ...] = ()
    environment: Environment


class RunRecord(ModelRecord):
    """``runs/<run>/run.json``: one trained model and what its training cost.

    ``duration_s`` and ``energy`` hold all that was spent, ``lost_s`` and ``lost_energy`` the part of it that
    went into epochs that were cut short and done again. ``hosts`` are the machines of several processes, that
    of the first process first, as they were when the training ended; empty where one process trained alone.
    """

    hosts: tuple[TrainingHost, ...] = ()
    lost_s: float = 0.0
    lost_energy: EnergyBreakdown | None = None
    best_epoch: int
    best_valid_loss: float
    accuracy: Accuracy
    persistence: Accuracy

    @property
    def devices(self) -> int:
        return max(1, len(self.hosts)) if self.device == "cpu" else self.execution.processes


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
