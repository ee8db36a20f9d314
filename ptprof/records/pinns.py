"""What was trained on Burgers' equation."""

from __future__ import annotations

from typing import Literal

from ptprof.records.base import Environment, Record, Value
from ptprof.records.joules import EnergyBreakdown


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
