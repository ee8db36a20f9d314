"""One training on several processes of one machine, as torchrun starts them."""

from __future__ import annotations

import os
from typing import TypeVar

from ptprof.energy import total
from ptprof.errors import UsageError
from ptprof.records import COMPONENTS, EnergyBreakdown

T = TypeVar("T")

ANSWER_S = 5.0
"""How long to wait for torchrun's store (s), which is on this machine."""


def processes() -> int:
    """How many processes train together; 1 unless torchrun says otherwise.

    Raises
    ------
    UsageError : they are spread over several machines
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 1
    here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    if here != everywhere:
        raise UsageError(
            f"a training stays on one machine: {everywhere - here} of {everywhere} processes do not"
        )
    return everywhere


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ["RANK"]) if processes() > 1 else 0


def leads() -> bool:
    """Whether this is the one that writes and prints."""
    return rank() == 0


def gathered(value: T) -> list[T]:
    """The ``value`` of every process, by rank, on every process; waits for all of them."""
    if processes() == 1:
        return [value]
    from torch import distributed

    values: list[T | None] = [None] * processes()
    distributed.all_gather_object(values, value)
    return [v for v in values if v is not None]


def together(breakdowns: list[EnergyBreakdown]) -> EnergyBreakdown:
    """The energy of processes side by side.

    What was measured by one counter (a board, a socket) is the same joules in each of them and counts once;
    what was modelled is each process's own.
    """
    seen: set[tuple[str, str]] = set()
    parts: list[EnergyBreakdown] = []
    for breakdown in breakdowns:
        shared = {
            component: (component, figure.gain_id)
            for component, figure in breakdown.present.items()
            if figure.source == "measured"
        }
        parts.append(breakdown.model_copy(update={c: None for c, key in shared.items() if key in seen}))
        seen.update(shared.values())
    summed = total(breakdowns)
    figures = {
        component: total([part for part in parts if component in part.present]).present[component]
        for component in COMPONENTS
        if component in summed.present
    }
    return EnergyBreakdown(**figures, missing=summed.missing)


def first_to_fail() -> bool:
    """Whether no other process of this training has said yet that it fails, so that one line tells of it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return True
    from datetime import timedelta

    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    try:
        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=timedelta(seconds=ANSWER_S),
            wait_for_workers=False,
        )
        return bool(store.add(f"ptprof/failed/{os.environ['TORCHELASTIC_RESTART_COUNT']}", 1) == 1)
    except RuntimeError:
        # The store has gone: whoever kept it has failed, and nobody may have said why.
        return True
