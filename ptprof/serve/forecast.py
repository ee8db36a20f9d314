"""One query, computed: to the device, the step or the rollout there, and back."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptprof.errors import ProtocolError
from ptprof.runtimes import Runner
from ptprof.serve.query import Query


@dataclass(frozen=True, eq=False)
class Forecast:
    """What was asked for, on the host, by name; and when the parts of the work began and ended, ns."""

    outputs: dict[str, NDArray[np.float32]]
    started_ns: int
    input_ns: int
    infer_ns: int
    output_ns: int


def forecast(runner: Runner, query: Query) -> Forecast:
    """Compute ``query``; to be called on the one thread that owns ``runner``.

    Raises
    ------
    ProtocolError : 503 where memory ran out
    """
    started = time.perf_counter_ns()
    try:
        state = torch.from_numpy(query.state).to(runner.device)
        moved = time.perf_counter_ns()
        computed = _compute(runner, state, query.rollout_steps)
        runner.synchronize()
        inferred = time.perf_counter_ns()
        outputs = {output.name: _host(computed[output.name]) for output in query.outputs}
    except (MemoryError, torch.OutOfMemoryError):
        raise ProtocolError(
            f"out of memory on {runner.device}: send a smaller batch or a shorter rollout", 503
        ) from None
    return Forecast(outputs, started, moved - started, inferred - moved, time.perf_counter_ns() - inferred)


def _compute(runner: Runner, state: Tensor, rollout_steps: int | None) -> dict[str, Tensor]:
    if rollout_steps is None:
        following, state_out = runner.step(state)
        return {"next": following, "state_out": state_out}
    states = runner.rollout(state, rollout_steps)
    # The window after the rollout: its last h states, older ones from the input where it was shorter.
    history = state.shape[1]
    state_out = torch.cat((state, states[:, -history:]), dim=1)[:, -history:]
    return {"states": states, "state_out": state_out}


def _host(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.contiguous().cpu().numpy()
    return array
